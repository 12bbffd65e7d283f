"""Every tower, and a loss of a tower's own: two ranks train what one trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.tasks import Task
from models.towers.config import TowerConfig
from models.towers.variants import VARIANTS, variant
from pipeline.config.sections import LossConfig
from pipeline.config.tree import Config
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, rank_batch
from tests.ranks import run_ranks

_STEPS = 5
_TOWERS = [name for name, chosen in VARIANTS.items() if not chosen.ablation]
_BALANCES = ("fixed", "uncertainty", "gradnorm", "pcgrad")


class Penalized(nn.Module):
    """A linear tower that keeps its logits small."""

    def __init__(self, num_features: int, tasks: Sequence[Task], weight: float) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, len(tasks))
        self.weight = weight
        self.squares: Tensor | None = None

    def forward(self, v_BF: Tensor) -> Tensor:
        logits: Tensor = self.linear(v_BF)
        self.squares = logits.square().mean()
        return logits

    def auxiliary_loss(self) -> Tensor:
        assert self.squares is not None
        return self.weight * self.squares


def losses(settings: Config, rank: int, size: int, weight: float | None = None) -> Tensor:
    """The global losses of a few steps; `weight`: of Penalized, instead of the tower."""
    chosen = resolve_features(settings, SCHEMA)
    given = None if weight is None else lambda features, tasks: Penalized(features, tasks, weight)
    _, parallel = build(settings, chosen, this_world(), given)
    pipeline = open_pipeline(parallel, this_world())
    parallel.model.train()
    keys = [feature.name for feature in chosen.features]
    batches = iter([rank_batch(number, rank, size, keys) for number in range(_STEPS)])
    found = []
    for _ in range(_STEPS):
        of_rank = pipeline.progress(batches).losses_T
        torch.distributed.all_reduce(of_rank)
        found.append(of_rank / size)
    return torch.stack(found)


def tower_of(name: str, base: TowerConfig) -> TowerConfig:
    """With a load-balancing loss that is felt."""
    tower = variant(name, base)
    if tower.kind == "smes":
        return tower.model_copy(update={"num_experts": 6, "load_balancing_weight": 0.5})
    return tower


def train_each(rank: int, size: int, types: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    plain = config(types)
    for name in _TOWERS:
        model = plain.model.model_copy(update={"tower": tower_of(name, plain.model.tower)})
        found[name] = losses(plain.model_copy(update={"model": model}), rank, size)
    for kind in _BALANCES:
        loss = LossConfig.model_validate({"balance": {"kind": kind}})
        settings = plain.model_copy(update={"loss": loss})
        found[kind] = losses(settings, rank, size, 1.0)
        found[f"{kind} alone"] = losses(settings, rank, size, 0.0)
    train = plain.train.model_copy(update={"micro_batch_size": 16})
    found["micro-batches"] = losses(plain.model_copy(update={"train": train}), rank, size, 1.0)
    return found


@pytest.fixture(scope="module")
def alone() -> dict[str, Tensor]:
    result: dict[str, Tensor] = run_ranks(train_each, 1, ("table_wise",))[0]
    return result


@pytest.fixture(scope="module")
def together() -> list[dict[str, Tensor]]:
    result: list[dict[str, Tensor]] = run_ranks(train_each, 2, ("row_wise",))
    return result


@pytest.mark.parametrize("name", [*_TOWERS, *_BALANCES, "micro-batches"])
def test_two_ranks_equal_one(
    name: str, alone: dict[str, Tensor], together: list[dict[str, Tensor]]
) -> None:
    assert alone[name][0].sum() > alone[name][-1].sum()
    for result in together:
        torch.testing.assert_close(result[name], alone[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", _BALANCES)
def test_the_loss_of_a_tower_adds_to_those_of_any_balance(
    kind: str, alone: dict[str, Tensor]
) -> None:
    assert (alone[kind] - alone[f"{kind} alone"]).abs().max() > 1e-4
    torch.testing.assert_close(alone[kind][0], alone[f"{kind} alone"][0])


def test_micro_batches_add_up(alone: dict[str, Tensor]) -> None:
    torch.testing.assert_close(alone["micro-batches"], alone["fixed"], rtol=1e-5, atol=1e-6)
