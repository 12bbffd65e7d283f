"""Corrupt checkpoints are skipped; saving often or in the background changes nothing."""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checkpoint.layout import find_checkpoint, saved_steps
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from tests.integration.training.runs import run, tensors
from tests.ranks import run_ranks

LAST = "step-00000008"


def changed(path: Path, change: str) -> None:
    data = bytearray(path.read_bytes())
    if change == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if change == "cut" else data)
    if change == "gone":
        path.unlink()


# What happens to which file of the newest checkpoint, and what is said of it. Every other file's
# damage is found in tests/pipeline/checkpoint/test_manifest.py.
DAMAGE = [
    ("flipped", "__0_0.distcp", "__0_0.distcp is corrupt: its checksum differs from the"),
    ("cut", "__0_0.distcp", "__0_0.distcp has "),
    ("gone", "__0_0.distcp", "__0_0.distcp is missing"),
    ("flipped", ".metadata", ".metadata is corrupt"),
    ("flipped", "meta.json", "meta.json "),
    ("gone", "manifest.json", "manifest.json is missing"),
]


def corrupted_and_resumed(rank: int, size: int, data: Path, folder: Path) -> Any:
    """A run whose newest checkpoint is corrupt, each way, and then resumes; and all of them."""
    whole = folder / "whole"
    # One evaluation, so that the last checkpoint is the best and holds results.
    words = ["--checkpoint.asynchronous", "false", "--train.eval_every", "8"]
    assert run(rank, size, data, whole, [*words, "--checkpoint.every", "5"]) == 0
    found = []
    for number, (change, name, _) in enumerate(DAMAGE):
        out = folder / str(number)
        shutil.copytree(whole, out)
        changed(out / "checkpoints" / LAST / name, change)
        with redirect_stdout(io.StringIO()) as said:
            code = run(rank, size, data, out, [], resume=True)
        found.append((code, said.getvalue()))
    broken = folder / "broken"
    shutil.copytree(whole, broken)
    for path in (broken / "checkpoints").glob("step-*/__0_0.distcp"):
        changed(path, "flipped")
    best = find_checkpoint(broken)
    with pytest.raises(UserError, match=r"__0_0.distcp is corrupt.*give another checkpoint"):
        evaluate_checkpoint(best, "val", None, this_world())
    return found, run(rank, size, data, broken, [], resume=True)


def test_a_corrupt_checkpoint_is_skipped_and_the_previous_one_loaded(
    synthetic: Path, tmp_path: Path
) -> None:
    ((found, none_valid),) = run_ranks(corrupted_and_resumed, 1, synthetic, tmp_path)
    whole = tensors(tmp_path / "whole" / "checkpoints" / LAST, tmp_path)
    for number, ((code, said), (_, _, message)) in enumerate(zip(found, DAMAGE, strict=True)):
        assert code == 0, (number, code)
        skipped = [line for line in said.splitlines() if "skipped" in line]
        assert len(skipped) == 1, (number, said)
        (line,) = skipped
        assert line.startswith(f"checkpoint of step 8 skipped: {message}"), line
        assert line.endswith("; resuming from step 5")
        again = tensors(tmp_path / str(number) / "checkpoints" / LAST, tmp_path)
        assert again.keys() == whole.keys()
        assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    assert none_valid.startswith(f"{tmp_path / 'broken' / 'checkpoints'}: no checkpoint here is v")
    assert "(step 8: __0_0.distcp is corrupt" in none_valid
    assert "; step 5: __0_0.distcp is corrupt" in none_valid


def often(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run that saves as often as it can by the clock, in the background; saved steps."""
    words = ["--checkpoint.minutes", "1e-9", "--checkpoint.keep", "99"]
    words += ["--model.tower.dropout", "0.1"]
    code = run(rank, size, data, out / "often", words)
    plain = ["--model.tower.dropout", "0.1", "--checkpoint.asynchronous", "false"]
    return code, run(rank, size, data, out / "plain", plain)


def test_timed_and_asynchronous_saves_change_nothing(synthetic: Path, tmp_path: Path) -> None:
    assert run_ranks(often, 2, synthetic, tmp_path) == [(0, 0), (0, 0)]
    steps = saved_steps(tmp_path / "often" / "checkpoints")
    assert {5, 8} < set(steps)
    left, right = (
        tensors(tmp_path / name / "checkpoints" / LAST, tmp_path) for name in ("often", "plain")
    )
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    # One from the middle, taken beside steps, is what a run that ends there has.
    middle = next(step for step in steps if step not in (5, 8))
    words = ["--model.tower.dropout", "0.1", "--train.max_steps", str(middle)]
    assert run_ranks(run, 2, synthetic, tmp_path / "middle", words) == [0, 0]
    name = f"step-{middle:08d}"
    left, right = (
        tensors(tmp_path / run_name / "checkpoints" / name, tmp_path)
        for run_name in ("often", "middle")
    )
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
