"""Every sharding type, on one rank and two, trains the same model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchrec import KeyedJaggedTensor

from embeddings.config import SHARDING_TYPES, EmbeddingsConfig, ShardingConfig
from models.towers.config import HomeConfig
from pipeline.config.sections import ModelConfig, TrainConfig
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.data.schema import DenseFeature, Label, Schema, SparseFeature, Table
from pipeline.data.split_counts import Split
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.ranks import run_ranks

_ROWS = 64  # a global batch
_STEPS = 8

SCHEMA = Schema(
    dataset="random",
    made_by="test",
    user_column="user",
    sparse=(
        SparseFeature(name="item", group="item", table="item"),
        SparseFeature(name="user", group="user", table="user"),
        SparseFeature(name="history", group="user", table="item", multi=True),
        SparseFeature(name="tab", group="context", table="tab"),
    ),
    tables=(
        Table(name="user", vocab_size=40),
        Table(name="item", vocab_size=30),
        Table(name="tab", vocab_size=4),
    ),
    dense=(DenseFeature(name="age", mean=0, std=1), DenseFeature(name="length", mean=0, std=1)),
    labels=(
        Label(name="click", column="click", category="watch"),
        Label(name="finish", column="finish", category="watch"),
        Label(name="forward", column="forward", category="interact"),
    ),
    splits={
        "train": Split(
            rows=1000,
            positives={"click": 400, "finish": 300, "forward": 20},
            missing={"forward": 500},
        )
    },
)


def config(types: tuple[str, ...], *, synchronized: bool = True) -> Config:
    return Config(
        recipe="debug",
        embeddings=EmbeddingsConfig(dim=16, small_dim=8, small_rows=10, hash_rows=2),
        model=ModelConfig(
            tower=HomeConfig(expert_hidden=(16,), expert_dim=8, tower_hidden=(8,), mask_rank=4),
            sync_batch_norm=synchronized,
        ),
        sharding=ShardingConfig(types=types),
        train=TrainConfig(batch_size=_ROWS, compile="off", bf16="off"),
    )


def global_batch(step: int) -> dict[str, Any]:
    """Plain values of one global batch: single ids, ragged bags, dense, labels with gaps."""
    random = torch.Generator().manual_seed(step)

    def integers(high: int, count: int) -> torch.Tensor:
        return torch.randint(0, high, (count,), generator=random)

    lengths = integers(5, _ROWS)
    labels = (torch.rand(_ROWS, 3, generator=random) < 0.4).float()
    labels[torch.rand(_ROWS, 3, generator=random) < 0.1] = float("nan")
    return {
        "user": integers(42, _ROWS),
        "item": integers(32, _ROWS),
        "tab": integers(6, _ROWS),
        "history": list(torch.split(integers(32, int(lengths.sum())), lengths.tolist())),
        "dense": torch.randn(_ROWS, 2, generator=random),
        "labels": labels,
    }


def rank_batch(step: int, rank: int, size: int, keys: list[str]) -> Batch:
    """This rank's rows of the global batch."""
    values = global_batch(step)
    mine = slice(rank * _ROWS // size, (rank + 1) * _ROWS // size)
    rows = _ROWS // size
    parts: list[torch.Tensor] = []
    lengths: list[int] = []
    for key in keys:
        column = values[key][mine]
        bags = column if key == "history" else list(torch.split(column, 1))
        parts += bags
        lengths += [len(bag) for bag in bags]
    return Batch(
        dense=values["dense"][mine],
        sparse=KeyedJaggedTensor(
            keys=keys, values=torch.cat(parts), lengths=torch.tensor(lengths), stride=rows
        ),
        labels=values["labels"][mine],
        weights=torch.ones(rows),
        users=values["user"][mine],
    )


def train_some(rank: int, size: int, run: Config) -> dict[str, Any]:
    """A few steps; the global losses, and by table its sharding type and number of ranks."""
    world = this_world()
    chosen = resolve_features(run, SCHEMA)
    _, parallel = build(run, chosen, world)
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
        "ranks": {row["table"]: len(row["ranks"]) for row in parallel.plan["tables"]},
    }


def train_each(rank: int, size: int) -> dict[str, Any]:
    """One start of the ranks for all types: starting costs more than training."""
    results = {kind: train_some(rank, size, config((kind,))) for kind in SHARDING_TYPES}
    own = config(("row_wise",), synchronized=False)
    return {**results, "own statistics": train_some(rank, size, own)}


@pytest.fixture(scope="module")
def alone() -> torch.Tensor:
    """The loss curve [steps, tasks] of one rank, on the planner's own choice."""
    return torch.tensor(run_ranks(train_some, 1, config(()))[0]["losses"])


@pytest.fixture(scope="module")
def together() -> list[dict[str, Any]]:
    """By rank: sharding type -> what two ranks did under it."""
    ranks: list[dict[str, Any]] = run_ranks(train_each, 2)
    return ranks


def test_one_rank_learns(alone: torch.Tensor) -> None:
    assert alone.shape == (_STEPS, 3)
    assert alone[0].sum() > alone[-1].sum()


@pytest.mark.parametrize("kind", SHARDING_TYPES)
def test_two_ranks_equal_one(
    kind: str, alone: torch.Tensor, together: list[dict[str, Any]]
) -> None:
    for result in together:
        assert set(result[kind]["types"].values()) == {kind}
        losses = torch.tensor(result[kind]["losses"])
        torch.testing.assert_close(losses, alone, rtol=1e-5, atol=1e-6)
    if kind in ("data_parallel", "row_wise", "table_row_wise", "grid_shard"):
        assert max(together[0][kind]["ranks"].values()) == 2


def test_without_synchronized_statistics_two_ranks_differ(
    alone: torch.Tensor, together: list[dict[str, Any]]
) -> None:
    """The equality above is not idle: it hangs on the statistics."""
    losses = torch.tensor(together[0]["own statistics"]["losses"])
    assert (losses - alone).abs().max() > 1e-4
