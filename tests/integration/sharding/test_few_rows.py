"""Tables of fewer rows than ranks: some ranks have no row of any table, and train all the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torchrec import KeyedJaggedTensor

from embeddings.config import EmbeddingsConfig, ShardingConfig
from models.layers.config import AttentionConfig
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, rank_batch
from tests.integration.sharding.test_sharding import config as plain_config
from tests.ranks import run_ranks

RANKS = 4
BY_ROWS = ("row_wise", "table_row_wise", "grid_shard")
ROWS = {"1": (1, 1, 1), "1, 2 and 3": (1, 2, 3)}
"""Of each table."""
STEPS = 3
Losses = list[list[float]]


def config(kind: str, *, attention: bool) -> Config:
    run = plain_config((kind,))
    events = {"seen": {"history": "item"}} if attention else {}
    model = run.model.model_copy(update={"attention": AttentionConfig(events=events, hidden=8)})
    tables = EmbeddingsConfig(dim=8, small_dim=8, hash_rows=0)
    return run.model_copy(
        update={
            "embeddings": tables,
            "model": model,
            "sharding": ShardingConfig(types=(kind,)),
        }
    )


def train_and_resume(rows: Sequence[int], run: Config, folder: Path) -> Losses:
    """The losses of some steps, and of one more from the checkpoint behind them."""
    world = this_world()
    tables = tuple(
        table.model_copy(update={"vocab_size": count})
        for table, count in zip(SCHEMA.tables, rows, strict=True)
    )
    schema = SCHEMA.model_copy(update={"tables": tables})
    rows_of = {table.name: table.vocab_size for table in tables}
    chosen = resolve_features(run, schema)
    keys = [feature.name for feature in chosen.features]

    def batch(step: int) -> Batch:
        found = rank_batch(step, world.rank, world.size, keys)
        sparse = found.sparse
        found.sparse = KeyedJaggedTensor(
            keys=keys,
            values=torch.cat(
                [sparse[one.name].values() % rows_of[one.table] for one in chosen.features]
            ),
            lengths=sparse.lengths(),
            stride=sparse.stride(),
        )
        return found

    losses: Losses = []
    for steps in (range(STEPS), range(STEPS, STEPS + 1)):
        _, parallel = build(run, chosen, world)
        pipeline = open_pipeline(parallel, world)
        parallel.model.train()
        with Checkpoints(folder, world, run, schema) as checkpoints:
            if steps.start:
                assert checkpoints.load_latest(parallel.model, parallel.optimizer) is not None
            batches = iter([batch(step) for step in steps])
            for _ in steps:
                losses.append(pipeline.progress(batches).losses_T.tolist())
            progress = Progress(step=steps.stop, source={"epoch": 0})
            checkpoints.save(parallel.model, parallel.optimizer, progress)
    return losses


def losses(rank: int, size: int, folder: Path) -> dict[tuple[str, str, bool], Losses]:
    """This rank's. Two hosts with two ranks each."""
    os.environ |= {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": str(rank % 2)}
    found = {}
    for name, rows in ROWS.items():
        for kind in ("table_wise", *BY_ROWS):
            run = config(kind, attention=False)
            place = folder / f"{kind}{name}"
            found[kind, name, False] = train_and_resume(rows, run, place)
        for kind in ("table_wise", "row_wise"):  # an unpooled table has no other
            place = folder / f"unpooled {kind}{name}"
            run = config(kind, attention=True)
            found[kind, name, True] = train_and_resume(rows, run, place)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Losses]]:
    return run_ranks(losses, RANKS, tmp_path_factory.mktemp("few"))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    ("kind", "unpooled"), [*((kind, False) for kind in BY_ROWS), ("row_wise", True)]
)
def test_ranks_without_a_row_train_and_resume(
    kind: str, unpooled: bool, rows: str, found: list[dict[Any, Losses]]
) -> None:
    """As under a plan that splits no table."""
    for of_rank in found:
        whole = of_rank["table_wise", rows, unpooled]
        assert of_rank[kind, rows, unpooled] == [pytest.approx(step, rel=1e-5) for step in whole]
