"""What a checkpoint must have of the tables' optimizer state, or it is rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from pipeline.checkpoint.table_state import TablesLoader, table_state
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from tests.integration.sharding.test_sharding import SCHEMA, config
from tests.ranks import run_ranks


def load_wrong(rank: int, size: int, folder: Path) -> list[str]:
    """What is said of a checkpoint without a table's state, and with one of another shape."""
    run = config(("table_wise",))
    _, parallel = build(run, resolve_features(run, SCHEMA), this_world())
    model, said = parallel.model.state_dict(), []
    state: dict[str, Any] = dict(table_state(parallel.model, parallel.optimizer))
    name = next(iter(state))
    for number, wrong in enumerate(({}, {**state, name: torch.zeros(7, 1)})):
        place = folder / str(number)
        save({"model": model, "tables": wrong}, checkpoint_id=place)
        loader = TablesLoader(parallel.model, parallel.optimizer)
        with pytest.raises(CheckpointException) as caught:
            load({"model": model}, checkpoint_id=place, planner=loader)
        said.append(str(caught.value))
    return [name, *said]


def test_a_checkpoint_without_a_tables_state_is_rejected(tmp_path: Path) -> None:
    name, missing, other = run_ranks(load_wrong, 1, tmp_path)[0]
    assert f"has no tables.{name}" in missing
    assert f"tables.{name} is [7, 1], not " in other
