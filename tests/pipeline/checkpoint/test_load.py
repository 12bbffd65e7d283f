"""Why a checkpoint could not be loaded: a signal and a disk are no reason to remove it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict_saver import save

from pipeline.checkpoint.load import _load, _load_errors
from pipeline.checkpoint.manifest import Manifest
from pipeline.io.errors import UserError
from pipeline.io.interrupts import Interrupted


class Failing(DefaultLoadPlanner):
    """Raises while a checkpoint is loaded."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def create_local_plan(self) -> Any:
        raise self._error


def load_failing(folder: Path, error: BaseException) -> None:
    save({"weights": torch.zeros(4)}, storage_writer=FsspecWriter(str(folder)), no_dist=True)
    Manifest(step=1, epoch=0, saved=0.0, world_size=1, files={}).save(folder)
    alone: Any = SimpleNamespace(control=None)
    planner: Any = Failing(error)
    with _load_errors(folder):
        _load({"weights": torch.zeros(4)}, folder, alone, planner)


def test_a_signal_stays_one(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        load_failing(tmp_path, Interrupted("stopped by SIGTERM"))


def test_a_disk_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cannot be read: .*Stale file handle.*; fix this"
    ) as raised:
        load_failing(tmp_path, OSError(116, "Stale file handle"))
    assert "remove it" not in str(raised.value)


def test_another_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be loaded: .*; it is from another model"):
        load_failing(tmp_path, ValueError("size mismatch"))
