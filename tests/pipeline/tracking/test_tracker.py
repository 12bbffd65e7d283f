"""What a run records, and what remains of it after a resume."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from tensorboard.summary.writer import event_file_writer  # type: ignore[import-untyped]

from pipeline.io.errors import UserError
from pipeline.tracking.progress_line import PROGRESS_LINE
from pipeline.tracking.tracker import Tracker


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_values_are_in_the_log_and_in_tensorboard(tmp_path: Path) -> None:
    with Tracker(tmp_path / "run", rank=0, total_steps=20) as tracker:
        tracker.log(10, {"loss/total": 0.5, "lr/dense": 1e-3})
        tracker.log_results(20, {"click": {"rows": 7, "auc": 0.75, "ne": None}}, split="val")
    train, evaluation = lines(tmp_path / "run")
    assert train.pop("time") <= evaluation.pop("time")
    assert train == {"kind": "train", "step": 10, "loss/total": 0.5, "lr/dense": 1e-3}
    assert evaluation == {
        "kind": "eval",
        "split": "val",
        "step": 20,
        "click/rows": 7,
        "click/auc": 0.75,
        "click/ne": None,
    }
    assert scalars(tmp_path / "run", "train/loss/total") == [(10, 0.5)]
    assert scalars(tmp_path / "run", "val/click/auc") == [(20, 0.75)]


def test_a_line_is_on_disk_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    with Tracker(tmp_path, rank=0, total_steps=20) as tracker:
        tracker.log(1, {"loss/total": 0.5})
        assert len(lines(tmp_path)) == 1


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with Tracker(tmp_path, rank=0, total_steps=20) as tracker:
        tracker.log(1, {"loss/total": float("nan"), "loss/click": float("inf")})
    assert lines(tmp_path)[0] | {"time": 0} == {
        "kind": "train",
        "step": 1,
        "time": 0,
        "loss/total": None,
        "loss/click": None,
    }


def test_a_resumed_run_lives_on_from_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files of one second are read in the order of this number, as text: 10 before 9.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    with Tracker(tmp_path, rank=0, total_steps=20) as tracker:
        for step in range(1, 9):
            tracker.log(step, {"loss/total": step})
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"kind": "train", "st')  # killed while it wrote
    with Tracker(tmp_path, rank=0, total_steps=20, resume_step=5) as tracker:
        assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]
        tracker.log(6, {"loss/total": 60})
    assert [line["loss/total"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 60]
    assert scalars(tmp_path, "train/loss/total")[-2:] == [(5, 5), (6, 60)]


def test_other_ranks_write_and_say_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracker(tmp_path / "run", rank=1, total_steps=20) as tracker:
        tracker.log(1, {"loss/total": 1.0})
        tracker.log_results(1, {}, split="val")
        tracker.progress(20, samples_per_s=10, loss=1)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_a_log_gets_a_line_now_and_then_and_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracker(tmp_path, rank=0, total_steps=1_000) as tracker:
        for step in range(1, 1_001):
            tracker.progress(step, samples_per_s=2_000, loss=1 / step)
    shown = [PROGRESS_LINE.fullmatch(line) for line in capsys.readouterr().out.splitlines()]
    steps = [int(match["step"]) for match in shown if match]
    assert len(steps) == len(shown) < 100
    assert (steps[0], steps[-1]) == (1, 1_000)
    assert shown[-1] is not None
    assert shown[-1]["eta"] == "0:00"


def test_a_folder_that_is_moved_away_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    tracker = Tracker(tmp_path / "run", rank=0, total_steps=20)
    (tensorboard,) = set(threading.enumerate()) - before
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # it raises there, too
    (tmp_path / "run").rename(tmp_path / "moved")
    # Which of the two, logging or closing, finds it is a matter of time.
    gone = pytest.raises(UserError, match=r"run/tensorboard/.*: is gone, so this run stops")
    with gone, tracker:
        tracker.log(1, {"loss/total": 0.5})
    tensorboard.join()
