"""Whatever becomes of the data or a sweep, it is read or one line says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.planning.collect_table_stats import collect_table_stats
from pipeline.planning.page.document import plan_page
from pipeline.planning.page.sweep_file import load_sweep
from tests.mutations import assert_read_or_refused, byte_mutations, planner_errors, text_mutations
from tests.pipeline.planning.test_collect_table_stats import FOLD, TABLE, write

POINT = {
    "ranks": 2,
    "feasible": True,
    "time_ms": 1.5,
    "lower_bound_ms": 1.25,
    "imbalance": 1.0,
    "ms": {"lookup": 0.5},
    "sync_ms": 1.0,
    "memory": {"hbm": [10, 20], "ddr": [0, 0], "ssd": [0, 0]},
    "room": {"hbm": 40},
}
SWEEP = {
    "kind": "homerec sharding sweep",
    "version": 1,
    "source": "a.yaml",
    "cluster": "h100",
    "points": [POINT, {"ranks": 4, "feasible": False, "reason": "too little memory"}],
}


@pytest.mark.parametrize("part", ["footer", "pages"])
def test_data_are_counted_or_one_line_says_why_not(tmp_path: Path, part: str) -> None:
    data: list[tuple[int | None, Any]] = [(row % 12, [row % 5, None]) for row in range(20)]
    paths = write(tmp_path, data, pa.list_(pa.int64()))
    whole = paths[1].read_bytes()
    border = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for changed in byte_mutations(whole[border:] if part == "footer" else whole[:border]):
        both = whole[:border] + changed if part == "footer" else changed + whole[border:]
        paths[1].write_bytes(both)
        assert_read_or_refused(lambda: collect_table_stats(paths, [TABLE], FOLD, "data"), changed)


def test_a_sweep_is_shown_or_one_line_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"

    def show() -> None:
        with planner_errors():
            found = load_sweep(path)
        plan_page("Sweep", [], found, options=0)

    path.write_text(json.dumps(SWEEP), encoding="utf-8")
    show()
    for changed in text_mutations(json.dumps(SWEEP)):
        path.write_bytes(changed)
        assert_read_or_refused(show, changed)
