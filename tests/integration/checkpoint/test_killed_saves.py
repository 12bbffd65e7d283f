"""A rank killed during a save or a load leaves the last checkpoint as it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner

from pipeline.checkpoint.layout import saved_steps
from pipeline.checkpoint.manifest import Manifest
from pipeline.checkpoint.writer import CheckpointWriter
from tests.integration.training.runs import run
from tests.ranks import RankError, run_ranks


@contextmanager
def dying(kind: type, verb: str, nth: int) -> Iterator[None]:
    """SIGKILL to this process when `kind.verb` is called for the nth time (from 1)."""
    real, count = getattr(kind, verb), 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, verb, call)
        yield


def killed(rank: int, size: int, data: Path, out: Path, where: str) -> Any:
    """A run that saves after each step, of which a rank is killed in its third save."""
    words = ["--checkpoint.every", "1", "--train.eval_every", "100"]
    kind, verb, which, nth = {
        "data": (CheckpointWriter, "write_data", 1, 3),
        "manifest": (Manifest, "save", 0, 3),
    }[where]
    with dying(kind, verb, nth if rank == which else -1):
        return run(rank, size, data, out, words)


@pytest.mark.parametrize("where", ["data", "manifest"])
def test_a_kill_in_a_save_leaves_the_previous_checkpoint(
    where: str, synthetic: Path, tmp_path: Path
) -> None:
    """In the middle of a rank's data, and between the data of all and the manifest."""
    out = tmp_path / "run"
    with pytest.raises(RankError, match="-9"):
        run_ranks(killed, 2, synthetic, out, where)
    assert saved_steps(out / "checkpoints") == [1, 2]
    # Rank 0, if it lives to see the other die, clears up itself.
    left = (out / "checkpoints" / ".step-00000003.partial").is_dir()
    assert left or where == "data"
    assert run_ranks(run, 2, synthetic, out, ["--checkpoint.every", "0"], True) == [0, 0]
    assert saved_steps(out / "checkpoints")[-1] == 8
    assert not list((out / "checkpoints").glob(".step*"))


def killed_loading(rank: int, size: int, data: Path, out: Path) -> Any:
    """A resumed run, of which rank 1 is killed in the middle of reading."""
    with dying(DefaultLoadPlanner, "commit_tensor", 9 if rank == 1 else -1):
        return run(rank, size, data, out, [], resume=True)


def test_a_kill_in_a_load_costs_nothing(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "5"]) == [0, 0]
    before = {path: path.read_bytes() for path in (out / "checkpoints").rglob("*.distcp")}
    with pytest.raises(RankError, match="-9"):
        run_ranks(killed_loading, 2, synthetic, out)
    assert {path: path.read_bytes() for path in (out / "checkpoints").rglob("*.distcp")} == before
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "8"], True) == [0, 0]
    assert saved_steps(out / "checkpoints")[-1] == 8
