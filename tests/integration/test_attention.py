"""Attention over unpooled rows: the same model under every sharding type, and over a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from embeddings.sharders import UNPOOLED_TYPES
from models.attention import AttentionConfig
from pipeline.assemble import assemble, open_pipeline, select
from pipeline.config import Config
from pipeline.distributed import this_world
from tests.integration.test_sharding import SCHEMA, rank_batch
from tests.integration.test_sharding import config as plain_config
from tests.integration.test_train import run, tensors
from tests.ranks import run_ranks

_STEPS = 8
_EVENTS = {"seen": {"history": "item"}}


def config(types: tuple[str, ...], **fields: Any) -> Config:
    plain = plain_config(types)
    attention = AttentionConfig(events=_EVENTS, hidden=8, **fields)
    return plain.model_copy(
        update={"model": plain.model.model_copy(update={"attention": attention})}
    )


def train_some(rank: int, size: int, run: Config) -> dict[str, Any]:
    """A few steps; the global losses, and which types the plan used for which table."""
    world = this_world()
    chosen = select(run, SCHEMA)
    _, parallel = assemble(run, chosen, world)
    pipeline = open_pipeline(parallel, world)
    parallel.model.train()
    keys = [feature.name for feature in chosen.features]
    batches = iter([rank_batch(step, rank, size, keys) for step in range(_STEPS)])
    losses = []
    for _ in range(_STEPS):
        loss = pipeline.progress(batches).losses_T
        torch.distributed.all_reduce(loss)
        losses.append(loss / size)
    return {
        "losses": torch.stack(losses).tolist(),
        "types": {row["table"]: row["sharding_type"] for row in parallel.plan["tables"]},
        "item": max(len(row["ranks"]) for row in parallel.plan["tables"] if row["table"] == "item"),
    }


def train_each(rank: int, size: int) -> dict[str, Any]:
    return {
        **{kind: train_some(rank, size, config((kind,))) for kind in UNPOOLED_TYPES},
        "mixed": train_some(rank, size, config(("grid_shard", "row_wise"))),
    }


@pytest.fixture(scope="module")
def alone() -> torch.Tensor:
    """The loss curve [steps, tasks] of one rank, on the planner's own choice."""
    return torch.tensor(run_ranks(train_some, 1, config(()))[0]["losses"])


@pytest.fixture(scope="module")
def together() -> list[dict[str, Any]]:
    """By rank: sharding type -> what two ranks did under it."""
    ranks: list[dict[str, Any]] = run_ranks(train_each, 2)
    return ranks


@pytest.mark.parametrize("kind", UNPOOLED_TYPES)
def test_two_ranks_equal_one(
    kind: str, alone: torch.Tensor, together: list[dict[str, Any]]
) -> None:
    for result in together:
        assert set(result[kind]["types"].values()) == {kind}
        losses = torch.tensor(result[kind]["losses"])
        torch.testing.assert_close(losses, alone, rtol=1e-5, atol=1e-6)
    if kind in ("data_parallel", "row_wise"):
        assert together[0][kind]["item"] == 2
