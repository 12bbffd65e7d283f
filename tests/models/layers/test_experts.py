"""Dropout of expert layers."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.layers.config import ExpertConfig, Normalization
from models.layers.experts import ExpertLayer
from models.layers.fold import folded
from models.towers.config import (
    AdattConfig,
    HomeConfig,
    MmoeConfig,
    PleConfig,
    SharedBottomConfig,
    SingleTaskConfig,
    TowerConfig,
)
from tests.models.building import SMALL, build, perturb, rows

KINDS = [HomeConfig, MmoeConfig, PleConfig, AdattConfig, SharedBottomConfig, SingleTaskConfig]
EXPERTS, FEATURES, UNITS = 3, 7, 50


class Layer(torch.nn.Module):
    """An ExpertLayer with its Linear."""

    def __init__(self, layer: ExpertLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.layer.linear(x))
        return out


def layer(dropout: float, normalization: Normalization = "batch") -> Layer:
    config = ExpertConfig(normalization=normalization, activation="swish", dropout=dropout)
    built = ExpertLayer(EXPERTS, FEATURES, UNITS, config, None)
    built.linear.init_weights(["a", "b", "c"], 0, gain=1.0)
    built.norm.init_weights()
    return perturb(Layer(built).double())


def config_of(kind: type, dropout: float) -> TowerConfig:
    config: TowerConfig = kind.model_validate(SMALL | {"dropout": dropout})  # type: ignore[attr-defined]
    return config


def seeded(module: torch.nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    result: Tensor = module(x)
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_without_dropout_no_random_number_is_drawn(kind: type) -> None:
    tower = build(config_of(kind, 0.0))
    before = torch.get_rng_state()
    tower(rows(9)).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_towers_drop_in_training_alone_and_as_the_seed_says(kind: type) -> None:
    tower, without = build(config_of(kind, 0.5)), build(config_of(kind, 0.0))
    assert tower.state_dict().keys() == without.state_dict().keys()
    assert torch.equal(seeded(tower, rows(9)), seeded(tower, rows(9)))
    assert not torch.equal(seeded(tower, rows(9)), seeded(tower, rows(9), seed=1))
    assert not torch.equal(seeded(tower, rows(9)), without(rows(9)))
    # The running statistics of the two have seen different rows.
    without.load_state_dict(tower.state_dict())
    assert torch.equal(tower.eval()(rows(9)), without.eval()(rows(9)))
    torch.testing.assert_close(folded(tower)(rows(9)), without(rows(9)))


@pytest.mark.parametrize("kind", KINDS)
def test_form_that_compiles_drops_the_same(kind: type) -> None:
    """With backend='eager', which draws as eager does; inductor draws in its own way."""
    tower = perturb(build(config_of(kind, 0.5)))
    compiled = copy.deepcopy(tower)
    torch._dynamo.reset()
    compiled.compile(backend="eager", fullgraph=True)
    logits, expected = seeded(compiled, rows(9)), seeded(tower, rows(9))
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()  # type: ignore[no-untyped-call]
    expected.square().sum().backward()  # type: ignore[no-untyped-call]
    for ours, theirs in zip(compiled.parameters(), tower.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("normalization", ["batch", "layer", "none"])
@given(dropout=st.floats(0.05, 0.9))
@settings(max_examples=10, deadline=None)
def test_units_are_dropped_at_the_rate_and_the_rest_scaled_up(
    normalization: Normalization, dropout: float
) -> None:
    out, full = (seeded(layer(p, normalization), rows(400)) for p in (dropout, 0.0))
    kept = out != 0
    torch.testing.assert_close(out[kept], full[kept] / (1 - dropout))
    # Five standard deviations of a mean of independent draws: of all, and of each expert.
    for part in (kept, *kept):
        tolerance = 5 * (dropout * (1 - dropout) / part.numel()) ** 0.5
        assert abs(part.double().mean().item() - (1 - dropout)) < tolerance
    assert not torch.equal(kept[0], kept[1])


def test_expectation_is_what_evaluation_gives() -> None:
    dropping, x = layer(0.3, "none"), rows(4)
    torch.manual_seed(0)
    draws = torch.stack([dropping(x).detach() for _ in range(2000)])
    deviation = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - dropping.eval()(x)).abs() <= 6 * deviation).all()


@pytest.mark.parametrize("normalization", ["batch", "layer", "none"])
def test_dropped_units_get_no_gradient(normalization: Normalization) -> None:
    """Of the layer's output, where each unit has weights of its own."""
    dropping = layer(0.5, normalization)
    out = seeded(dropping, rows(2))
    (out * torch.rand_like(out)).sum().backward()  # type: ignore[no-untyped-call]
    dropped = (out == 0).all(1)  # [E, units], in both rows
    assert dropped.any()
    assert not dropped.all()
    bias = dropping.layer.norm.bias.grad
    assert bias is not None
    assert (bias[dropped] == 0).all()
    assert (bias[~dropped] != 0).all()
    if normalization != "layer":  # which ties the units of an expert together
        weight = dropping.layer.linear.weight.grad
        assert weight is not None
        assert (weight[dropped] == 0).all()
