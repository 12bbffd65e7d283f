"""A run that is replaced is there until the new one has saved its first checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pipeline.checkpoint.layout import saved_steps
from pipeline.config.overrides import configure
from pipeline.io.errors import UserError
from pipeline.io.set_aside import FAILED, is_pending
from pipeline.ranks.world import this_world
from pipeline.train import train
from tests.integration.checkpoint.test_resume import contents
from tests.integration.training.runs import run
from tests.ranks import run_ranks

_DIVERGES = ["--dense.lr", "1e30", "--schedule.warmup_steps", "0", "--dense.clip_norm", "0"]


def overwrite(data: Path, out: Path, words: list[str]) -> Any:
    fields = ["--data.path", str(data), "--train.batch_size", "256", *words]
    config, _ = configure("debug", None, out, fields, resume=False, must_exist=False)
    try:
        return train(config, out, this_world(), overwrite=True)
    except UserError as error:
        return str(error)


def replaced(rank: int, size: int, data: Path, out: Path, disk: Path) -> Any:
    """A run with its checkpoints on another disk, replaced by one that fails before it saves, and
    by one that does not."""
    assert run(rank, size, data, out, ["--train.max_steps", "2"]) == 0
    if rank == 0:
        (out / "checkpoints").rename(disk)
        (out / "checkpoints").symlink_to(disk)
    torch.distributed.barrier()
    before = contents(out) | contents(disk)
    torch.distributed.barrier()
    failure = overwrite(data, out, _DIVERGES)
    torch.distributed.barrier()
    after = contents(out) | contents(disk)
    same = {name: text for name, text in after.items() if FAILED not in name} == before
    torch.distributed.barrier()
    code = overwrite(data, out, ["--train.max_steps", "3"])
    return same, failure, code


def test_a_start_that_fails_brings_the_old_run_back(synthetic: Path, tmp_path: Path) -> None:
    out, disk = tmp_path / "run", tmp_path / "disk"
    first, second = run_ranks(replaced, 2, synthetic, out, disk)
    assert first == second
    same, failure, code = first
    assert same
    assert "loss is not finite" in failure
    assert code == 0
    assert saved_steps(disk) == [3]
    assert (out / "checkpoints").is_symlink()
    assert not is_pending(out)
    assert not (disk / ".replaced").exists()
