"""A followed log trains each of its rows once, whatever dies and on any number of ranks."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.checkpoint.progress import read_progress
from tests.integration.training.runs import tensors
from tests.pipeline.follow.following import (
    Stops,
    add,
    logged,
    newest,
    position,
    run,
    scores,
    start_log,
    train_again,
    train_first,
)
from tests.ranks import RankError, run_ranks

ROWS = (333, 100, 700, 250)
STEPS = sum(ROWS) // 32


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of a log to which all files have been added."""
    data = start_log(tmp_path)
    for number, rows in enumerate(ROWS, start=1):
        add(tmp_path, f"b{number}", rows, number)
    return data


def check_all_trained(out: Path, before: int = 0) -> None:
    """Each whole batch of the log has been trained, and scored, once, after `before` steps."""
    progress = read_progress(newest(out))
    assert (progress.step, position(out)["rows"]) == (before + STEPS, STEPS * 32)
    windows = logged(out, "window")
    assert [one["number"] for one in windows] == list(range(1, len(windows) + 1))
    assert sum(one["rows"] for one in windows) == STEPS * 32
    assert len(scores(out)) == len(windows)
    steps = [one["step"] for one in logged(out, "train")]
    assert steps == list(range(1, before + STEPS + 1))


def check_equal(first: Path, second: Path, folder: Path, *, bitwise: bool) -> None:
    folder.mkdir(exist_ok=True)
    one, other = tensors(newest(first), folder), tensors(newest(second), folder)
    for name, tensor in one.items():
        if bitwise:
            assert torch.equal(tensor, other[name]), name
        elif name.startswith("/model"):
            torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-4)


def test_windows_are_scored_then_trained(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "one"
    assert run_ranks(run, 1, data, out) == [0]
    check_all_trained(out)
    assert all(one["click/ne"] > 0 and one["click/calibration"] > 0 for one in scores(out))
    lag = [one["lag_rows"] for one in logged(out, "window")]
    assert lag == sorted(lag, reverse=True)
    assert lag[-1] == sum(ROWS) - STEPS * 32
    assert (out / "report.html").is_file()
    (error,) = run_ranks(train_again, 1, out)
    assert "resume it with --follow" in error
    # A file that comes later, whose name is that of an earlier time.
    add(tmp_path, "a9", 64, 9)
    assert run_ranks(run, 1, data, out) == [0]
    assert position(out)["rows"] == (sum(ROWS) + 64) // 32 * 32
    assert logged(out, "window")[-1]["late_rows"] > 0


@pytest.mark.parametrize("size", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_ranks_train_the_same_batches(data: Path, tmp_path: Path, size: int) -> None:
    """After batch training on one rank; and stopped in a window, on half of the ranks."""
    one, out = tmp_path / "one", tmp_path / "other"
    assert run_ranks(train_first, 1, data, one) == [0]
    shutil.copytree(one, out)
    assert run_ranks(run, 1, data, one) == [0]
    assert run_ranks(run, size, data, out, None, Stops(18)) == [143] * size
    assert read_progress(newest(out)).source["window"] is not None
    assert run_ranks(run, size // 2, data, out) == [0] * (size // 2)
    check_all_trained(out, before=4)
    assert position(out) == position(one)
    check_equal(one, out, tmp_path / "whole", bitwise=False)
    for first, second in zip(scores(one), scores(out), strict=True):
        for name in ("click/rows", "click/auc", "stayed/ne"):
            assert second[name] == pytest.approx(first[name], rel=1e-3)


@pytest.mark.parametrize(
    ("sizes", "kills"),
    [
        ((2,), 2),
        pytest.param((1,), 30, marks=pytest.mark.slow),
        pytest.param((2,), 30, marks=pytest.mark.slow),
        pytest.param((4,), 30, marks=pytest.mark.slow),
        pytest.param((1, 2, 4), 30, marks=pytest.mark.slow),
    ],
)
def test_kills_lose_and_repeat_nothing(tmp_path: Path, sizes: tuple[int, ...], kills: int) -> None:
    """A rank dies at random moments, while files are added."""
    data = start_log(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    changes = len(sizes) > 1
    if changes:  # on other ranks a run would start with other weights
        assert run_ranks(train_first, 1, data, whole) == [0]
        shutil.copytree(whole, killed)
    draw = random.Random(kills + len(sizes))
    deaths, size = 0, sizes[0]
    for number, rows in enumerate(ROWS, start=1):
        add(tmp_path, f"b{number}", rows, number)
        while deaths < kills * number // len(ROWS):
            size = draw.choice(sizes)
            dies = draw.randrange(size), draw.random() * 0.3
            try:
                run_ranks(run, size, data, killed, None, None, dies)
            except RankError:
                deaths += 1
            else:
                break  # all rows were trained first
    assert deaths > kills // 4
    assert run_ranks(run, size, data, killed) == [0] * size
    assert run_ranks(run, size, data, whole) == [0] * size
    check_all_trained_rows(killed, before=4 * changes)
    assert position(killed) == position(whole)
    check_equal(whole, killed, tmp_path / "tensors", bitwise=not changes)


def check_all_trained_rows(out: Path, before: int) -> None:
    """As `check_all_trained`; windows may end elsewhere where a run found no more rows."""
    progress = read_progress(newest(out))
    assert (progress.step, position(out)["rows"]) == (before + STEPS, STEPS * 32)
    steps = [one["step"] for one in logged(out, "train")]
    assert steps == list(range(1, before + STEPS + 1))


def test_a_schedule_with_an_end_is_refused(data: Path, tmp_path: Path) -> None:
    (error,) = run_ranks(run, 1, data, tmp_path / "one", ["--schedule.decay", "cosine"])
    assert "schedule.decay: cosine ends at a last step" in error
    assert not (tmp_path / "one").exists()
