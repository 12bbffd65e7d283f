"""The moving average of the weights, and who evaluates it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torchrec import KeyedJaggedTensor, KeyedTensor

from models.ema import Ema
from models.probe import probing
from models.ranker import Head, TowerInput
from tests.models.building import NUM_FEATURES, TASKS, build, perturb, rows, small_home


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.9, 0.999])
def test_equals_the_sum_written_out(decay: float) -> None:
    tower = build(small_home())
    average = Ema(tower, decay)
    seen = []
    for step in range(30):
        perturb(tower, seed=step)
        average.update_parameters(tower)
        seen.append({name: value.clone() for name, value in tower.state_dict().items()})
    weights = [1.0]
    for n in range(1, 30):
        kept = min(decay, n / (n + 2))
        weights = [weight * kept for weight in weights] + [1 - kept]
    assert sum(weights) == pytest.approx(1)
    averaged = average.module.state_dict()
    assert {name for name in averaged if "running" in name}
    for name, value in averaged.items():
        steps = zip(weights, seen, strict=True)
        expected = sum(weight * step[name] for weight, step in steps)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_small_steps_are_not_lost_in_float32() -> None:
    tower = build(small_home()).float()
    average = Ema(tower, 0.9999)
    average.n_averaged.fill_(10**6)
    for _ in range(100):
        perturb(tower, seed=1)
        average.update_parameters(tower)
    begun = build(small_home())
    for name, value in average.module.state_dict().items():
        moved = (tower.state_dict()[name] - begun.state_dict()[name]).double()
        share = sum(0.9999**age * (100 - age) / 100 * 1e-4 for age in range(100))
        expected = begun.state_dict()[name] + share * moved
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


def head_of(tower: torch.nn.Module) -> Head:
    return Head(TowerInput(["item"]), tower, prior=[0.0] * len(TASKS))


def logits(head: Head) -> Tensor:
    v_BF = rows(6).float()
    pooled = KeyedTensor.from_tensor_list(["item"], [v_BF[:, :5]])
    sparse = KeyedJaggedTensor(["item"], torch.zeros(6).long(), lengths=torch.ones(6).long())
    out: Tensor = head(pooled, None, sparse, v_BF[:, 5:])
    return out


def test_training_sees_the_tower_and_evaluation_the_average() -> None:
    assert NUM_FEATURES == 7
    tower = perturb(build(small_home()).float())
    head, alone = head_of(tower), head_of(copy.deepcopy(tower))
    head.keep_ema(0.9)
    for step in range(4):
        perturb(head.tower, seed=step)
        perturb(alone.tower, seed=step)
        head.update_ema()
        alone.update_ema()
    assert torch.equal(logits(head.train()), logits(alone.train()))
    assert head.ema is not None
    averaged = head_of(head.ema.module).eval()
    assert torch.equal(logits(head.eval()), logits(averaged))
    assert not torch.allclose(logits(head), logits(alone.eval()))
    with probing(head.active_tower) as probe:
        assert torch.equal(logits(head), logits(averaged))
    assert probe.experts


def test_nothing_trains_the_average_and_without_one_nothing_is_there() -> None:
    head = head_of(build(small_home()).float())
    names = set(head.state_dict())
    trained = [name for name, weight in head.named_parameters() if weight.requires_grad]
    assert not [name for name in names if "ema" in name]
    head.keep_ema(0.9)
    assert [name for name, weight in head.named_parameters() if weight.requires_grad] == trained
    assert {name for name in head.state_dict() if not name.startswith("ema.")} == names
    assert {"ema.n_averaged"} < set(head.state_dict()) - names
    logits(head.train()).sum().backward()  # type: ignore[no-untyped-call]
    assert head.ema is not None
    assert all(weight.grad is None for weight in head.ema.parameters())
