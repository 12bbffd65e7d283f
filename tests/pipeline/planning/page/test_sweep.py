"""A sweep's file is read back, rejected in one line, and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embeddings.planner.advice.sweep import sweep
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.search.search import Budget
from pipeline.planning.page.document import plan_page
from pipeline.planning.page.sweep_file import SweepFile, load_sweep, read_sweep
from tests.browser import Browser
from tests.embeddings.planner.models import request_of
from tests.pipeline.planning.page.plans import tables_of

AXES: dict[str, list[Any]] = {"world_size": [2, 4, 8], "hbm_gb": ["0.01", "80"], "<b>": ["x"]}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """Real points: with 0.01 GB of HBM nothing fits."""
    tables = tables_of(4)

    def request(values: Mapping[str, Any]) -> PlanRequest:
        cluster = load_cluster("h100-2x1").model_copy(
            update={
                "hosts": values["world_size"] // 2,
                "hbm_gb": float(values["hbm_gb"]),
                "ddr_gb": 0.01,
            }
        )
        return request_of(tables, cluster)

    points = [point.row() for point in sweep(AXES, request, Budget(rounds=10))]
    head = {"kind": "homerec sharding sweep", "version": 1, "source": "<i>.yaml", "cluster": "h100"}
    found: dict[str, Any] = json.loads(json.dumps({**head, "points": points}))
    return found


def test_points_come_back(written: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    found = load_sweep(path)
    assert found == read_sweep(written, "sweep")
    assert found == SweepFile.model_validate_json(found.model_dump_json())
    for point, row in zip(found.points, written["points"], strict=True):
        assert point.values == {name: str(row[name]) for name in AXES}
        assert point.feasible == (row["hbm_gb"] == "80") == row["feasible"]
        assert point.time_ms == row.get("time_ms")
        assert point.reason == row.get("reason", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "homerec sharding plan"}, "is no sweep; run the sweep again"),
        ({"version": 2}, "a sweep of version 2; this homerec reads version 1"),
        ({"points": []}, "points"),
        (
            {"points": [{"world_size": "2", "feasible": True}]},
            "it has no time_ms; run the sweep again",
        ),
        ({"points": [{"feasible": False}]}, "points: not all have the same inputs"),
        ({"points": [{"a": "1", "feasible": False}, {"feasible": False}]}, "the same inputs"),
        ({"source": 3}, "source"),
    ],
)
def test_what_is_no_sweep_is_one_line(
    change: dict[str, Any], message: str, written: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\Asweep") as error:
        read_sweep(written | change, "sweep")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    for content, reason in ((None, "cannot be read "), ("{", "line 1: not JSON ")):
        if content:
            path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=rf"sweep.json: {reason}.*--out FILE' writes one"):
            load_sweep(path)


def test_it_is_shown(browser: Browser, written: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        plan_page("Sweep", [], read_sweep(written, "sweep"), options=0), encoding="utf-8"
    )
    browser.open(page)
    browser.settle()
    points = written["points"]
    fits = [point for point in points if point["feasible"]]
    data = "document.querySelector('.choice:not([hidden]) .sweep-{} .plot').data"

    def traces(plot: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = browser.run(data.format(plot))
        return found

    for plot in ("time", "hbm", "imbalance"):
        *fitting, hatched = traces(plot)
        assert len(fitting[0]["x"]) == len(hatched["x"]) == 3
        assert hatched["text"] == ["does not fit"] * 3
        assert not set(fitting[0]["x"]) & set(hatched["x"])
    # The grid: what fits has its time, what does not says so.
    cells = browser.run(
        "[...document.querySelectorAll('.choice:not([hidden]) .grid tbody tr')]"
        ".map(row => [...row.querySelectorAll('td')].map(cell => cell.textContent))"
    )
    assert cells[0] == ["does not fit"] * 3
    for text, point in zip(cells[1], fits, strict=True):
        assert float(text.removesuffix(" ms")) == pytest.approx(point["time_ms"], rel=1e-3)
    # The parts of a point add up to its time.
    *parts, _, _ = traces("time")
    high = np.sum([part["y"] for part in parts], axis=0)
    assert high == pytest.approx([point["time_ms"] for point in fits], rel=1e-4)
    # The other input along the axis: the same points in another order.
    browser.run(
        "(() => { const choice = document.querySelector('#sweep [data-choose]');"
        "choice.selectedIndex = 1; choice.dispatchEvent(new Event('change')); })()"
    )
    browser.settle()
    assert len(traces("time")[0]["x"]) == 3
    assert (
        browser.run("document.querySelectorAll('.choice:not([hidden]) .grid tbody tr').length") == 3
    )
    rows = browser.run(
        "[...document.querySelectorAll('#points tr.row')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert [row[0] for row in rows[:3]] == [
        str(point["world_size"]) for point in sorted(fits, key=lambda one: one["time_ms"])
    ]
    assert [row[3] for row in rows[3:]] == ["does not fit"] * 3
    assert "no sharding plan: " in browser.run("document.querySelector('#sweep details').innerHTML")
