"""The comparison's arithmetic."""

from __future__ import annotations

import polars as pl
import pytest

from benchmarks.foreign_tables.homerec_run import Trained
from benchmarks.foreign_tables.tables import Foreign

pytest.importorskip("lightgbm", reason="needs requirements/benchmarks.txt")
from benchmarks.foreign_tables.__main__ import lines
from benchmarks.foreign_tables.lightgbm_search import Tuned


def test_a_difference_is_between_runs_on_the_same_split() -> None:
    frame = pl.DataFrame({"age": [1], "y": [0], "z": [1], "split": ["train"]})
    pairs = [
        (Tuned({"y": 0.7, "z": 0.5}, 10), Trained({"y": 0.8, "z": 0.5}, {"y": 0.71, "z": 0.5}, 4)),
        (Tuned({"y": 0.9, "z": 0.5}, 20), Trained({"y": 0.9, "z": 0.5}, {"y": 0.87, "z": 0.6}, 6)),
    ]
    assert lines("small", Foreign(("y", "z"), frame), pairs) == [
        "| small | 1 | 1 | y | 0.8000 | 0.7900 | -0.0100 | +0.0100 -0.0300 | 0.8500 | 15 | 5 |\n",
        "| small | 1 | 1 | z | 0.5000 | 0.5500 | +0.0500 | +0.0000 +0.1000 | 0.5000 | 15 | 5 |\n",
    ]
