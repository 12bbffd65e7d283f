"""A long curve keeps its shape and its last point in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.report.run_files import read_run
from pipeline.report.series import MOST_POINTS, Series


@pytest.mark.parametrize("count", [1, 2, MOST_POINTS - 1, MOST_POINTS, MOST_POINTS + 1, 12_345])
def test_points_are_evenly_spaced_and_end_with_the_last(count: int) -> None:
    series = Series()
    for step in range(count):
        series.add(step, step / 2)
    steps, values = series.points()
    assert list(values) == [step / 2 for step in steps]
    assert steps[0] == 0
    assert steps[-1] == count - 1
    assert min(count, MOST_POINTS / 2) <= len(steps) <= MOST_POINTS
    spaces = {after - before for before, after in pairwise(steps[:-1])}
    assert len(spaces) <= 1


def test_an_empty_curve_has_no_points() -> None:
    assert Series().points() == ([], [])


def test_a_log_ten_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        with (tmp_path / "metrics.jsonl").open("w", encoding="utf-8") as log:
            for step in range(lines):
                log.write(json.dumps({"kind": "train", "step": step, "time": 1.0, "a": 0.5}) + "\n")
        tracemalloc.start()
        steps, _ = read_run(tmp_path).points("a")
        assert steps[-1] == lines - 1
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(40_000) < 1.5 * peak(4_000)
