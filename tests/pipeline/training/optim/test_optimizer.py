"""The run's optimizer: AdamW with clipping, and steps that are skipped without a trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchrec.optim.keyed import CombinedOptimizer

from embeddings.config import SparseOptimizerConfig
from embeddings.unfused_optimizer import UnfusedRowWiseAdagrad
from pipeline.config.sections import DenseOptimizerConfig
from pipeline.training.optim.optimizer import RunOptimizer

_SHAPES = {"a": (70, 33), "b": (33,), "c": (1,)}


def weights(*names: str) -> dict[str, nn.Parameter]:
    torch.manual_seed(1)
    return {name: nn.Parameter(torch.randn(_SHAPES[name])) for name in names}


def optimizer(
    tower: dict[str, nn.Parameter], tables: dict[str, nn.Parameter], clip_norm: float
) -> RunOptimizer:
    return RunOptimizer(
        CombinedOptimizer([]),
        tower,
        tables,
        DenseOptimizerConfig(lr=0.01, clip_norm=clip_norm),
        SparseOptimizerConfig(lr=0.1),
        has_shards=False,
    )


def step(of: RunOptimizer, seed: int, *, rejected: bool = False, bad: str = "") -> None:
    """One step with random gradients; that of weight `bad` has a value that is not finite."""
    torch.manual_seed(seed)
    of.zero_grad()
    for name, weight in of.params.items():
        weight.grad = torch.randn_like(weight)
        if bad and name.endswith(bad):
            weight.grad.view(-1)[0] = torch.inf
    of.rejected = torch.tensor(float(rejected))
    of.step()


@pytest.mark.parametrize("clip_norm", [0.0, 0.5, 1e3])
def test_equals_adamw_after_clip_grad_norm_and_row_wise_adagrad(clip_norm: float) -> None:
    tower, tables = weights("b", "c"), weights("a")
    mine = optimizer(tower, tables, clip_norm)
    other, other_tables = weights("b", "c"), weights("a")
    config = DenseOptimizerConfig()
    adamw = torch.optim.AdamW(
        other.values(),
        lr=0.01,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
    adagrad = UnfusedRowWiseAdagrad(other_tables.values(), lr=0.1, eps=SparseOptimizerConfig().eps)
    for seed in range(4):
        step(mine, seed)
        torch.manual_seed(seed)
        for weight in (*other.values(), *other_tables.values()):
            weight.grad = torch.randn_like(weight)
        if clip_norm:
            nn.utils.clip_grad_norm_(other.values(), clip_norm)
        adamw.step()
        adagrad.step()
        for name, weight in other.items():
            torch.testing.assert_close(tower[name], weight, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(tower[name].grad, weight.grad, rtol=1e-5, atol=1e-6)
    assert torch.equal(tables["a"], other_tables["a"])


def state(of: RunOptimizer) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {name: value.detach() for name, value in of.params.items()}
    for name, weight in of.params.items():
        values: dict[str, Any] = of.state.get(weight, {})
        found |= {f"{name} {key}": value for key, value in values.items()}
    return {name: value.clone() for name, value in found.items()}


@pytest.mark.parametrize(
    ("fault", "nonfinite"), [({"rejected": True}, 0), ({"bad": "c"}, 1), ({"bad": "a"}, 1)]
)
def test_a_skipped_step_never_happened(fault: dict[str, Any], nonfinite: int) -> None:
    with_it, without = (optimizer(weights("b", "c"), weights("a"), 0.5) for _ in range(2))
    for seed in (1, 2):
        step(with_it, seed)
        step(without, seed)
    before = state(with_it)
    step(with_it, 3, **fault)
    assert (float(with_it.skipped), float(with_it.nonfinite)) == (1, nonfinite)
    after = state(with_it)
    assert before.keys() == after.keys()
    assert len(before) == 3 + 2 * 3 + 1
    assert all(torch.equal(before[name], after[name]) for name in before)
    for one in (with_it, without):
        step(one, 4)
        assert (float(one.skipped), float(one.nonfinite)) == (0, 0)
    assert all(torch.equal(value, state(without)[name]) for name, value in state(with_it).items())
