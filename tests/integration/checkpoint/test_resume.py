"""A run whose checkpoints are gone is never begun anew by a resume."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import torch

from tests.integration.training.runs import run
from tests.ranks import run_ranks

_PLAIN: tuple[bool | Literal["auto"], ...] = (True, "auto")


def without_checkpoints(rank: int, size: int, data: Path, out: Path) -> Any:
    """What a run says that is resumed without its checkpoints, and from another folder."""
    assert run(rank, size, data, out, ["--train.max_steps", "2"]) == 0
    if rank == 0:
        (out / "checkpoints").rename(out.with_name("away"))
    torch.distributed.barrier()
    words = ["--train.max_steps", "3"]
    before = contents(out)
    said = [run(rank, size, data, out, words, resume=how) for how in _PLAIN]
    assert contents(out) == before
    elsewhere = [*words, "--checkpoint.path", str(out.with_name("away"))]
    return said, run(rank, size, data, out, elsewhere, resume=True)


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found if "tensorboard" not in path.parts}


def test_checkpoints_that_are_gone_end_a_resume_and_nothing_is_touched(
    synthetic: Path, tmp_path: Path
) -> None:
    first, second = run_ranks(without_checkpoints, 2, synthetic, tmp_path / "run")
    assert first == second
    said, code = first
    for message in said:
        assert "run: saved step 2 in" in message
        assert "contains no checkpoint; restore them" in message
    assert code == 0


def without_the_newest(rank: int, size: int, data: Path, out: Path) -> Any:
    """What a run prints that is resumed without its newest checkpoints."""
    words = ["--train.max_steps", "4", "--train.eval_every", "1", "--checkpoint.keep", "9"]
    assert run(rank, size, data, out, words) == 0
    for step in (3, 4):
        shutil.rmtree(out / "checkpoints" / f"step-{step:08d}")
    printed = []
    for _ in range(2):
        with redirect_stdout(io.StringIO()) as text:
            assert run(rank, size, data, out, [], resume=True) == 0
        printed.append(text.getvalue())
    return printed


def test_a_newest_checkpoint_that_is_gone_is_named(synthetic: Path, tmp_path: Path) -> None:
    ((first, second),) = run_ranks(without_the_newest, 1, synthetic, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    assert f"the newest checkpoint, of step 4 in {folder}, is gone; resuming from step 2\n" in first
    assert "is gone" not in second


def past_the_end(rank: int, size: int, data: Path, out: Path) -> Any:
    """Resumes from a step that was saved, but not evaluated, and is behind the new end."""
    words = ["--train.max_steps", "6", "--train.eval_every", "6", "--checkpoint.every", "4"]
    assert run(rank, size, data, out, words) == 0
    shutil.rmtree(out / "checkpoints" / "step-00000006")
    return run(rank, size, data, out, ["--train.max_steps", "3"], resume=True)


def test_a_run_past_its_new_end_is_evaluated_where_it_is(synthetic: Path, tmp_path: Path) -> None:
    assert run_ranks(past_the_end, 1, synthetic, tmp_path / "run") == [0]
    log = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log if '"val"' in line][-1] == 4


def not_saved(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run that died before its first save, resumed."""
    assert run(rank, size, data, out, ["--train.max_steps", "2"]) == 0
    shutil.rmtree(out / "checkpoints")
    (out / "saved.json").unlink()
    before = contents(out)
    said = run(rank, size, data, out, [], resume=True)
    assert contents(out) == before
    return said, run(rank, size, data, out, [], resume="auto")


def test_a_run_that_has_saved_none_is_begun_by_auto_alone(synthetic: Path, tmp_path: Path) -> None:
    ((said, code),) = run_ranks(not_saved, 1, synthetic, tmp_path / "run")
    assert "no checkpoint to resume from" in said
    assert "start it with --resume auto" in said
    assert code == 0


def links(rank: int, size: int, data: Path, out: Path, archive: Path) -> Any:
    """A run with links and a file among its checkpoints, resumed to retain fewer of them."""
    words = ["--checkpoint.keep", "9", "--checkpoint.every", "1", "--train.eval_every", "100"]
    assert run(rank, size, data, out, [*words, "--train.max_steps", "2"]) == 0
    folder = out / "checkpoints"
    archive.mkdir()
    for step in ("step-00000001", "step-00000002"):  # the second is the best
        (folder / step).rename(archive / step)
        (folder / step).symlink_to(archive / step)
    for name in ("step-00000003", ".step-00000009.old"):
        (folder / name).symlink_to(archive / "nowhere")
    (folder / ".step-00000001.partial").touch()
    more = ["--train.max_steps", "8", "--checkpoint.keep", "1"]
    code = run(rank, size, data, out, more, resume=True)
    return code, {path.name for path in folder.iterdir() if "step-" in path.name}


def test_links_among_checkpoints_are_read_and_removed_as_links(
    synthetic: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    ((code, left),) = run_ranks(links, 1, synthetic, tmp_path / "run", archive)
    assert code == 0
    assert left <= {"step-00000002", "step-00000008"}
    assert (archive / "step-00000001" / "manifest.json").exists()
