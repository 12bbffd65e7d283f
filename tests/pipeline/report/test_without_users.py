"""The report of a run on data without a user column."""

from __future__ import annotations

from pathlib import Path

from pipeline.io.files import write_json
from tests.pipeline.report.test_run_report import METRICS, RESULTS, SCHEMA, make_run, read


def test_without_a_user_column_the_page_has_no_gauc(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    tasks = {"click": {name: value for name, value in METRICS.items() if name != "gauc"}}
    write_json(run / "results.json", RESULTS | {"tasks": tasks})
    write_json(run / "schema.json", SCHEMA | {"user_column": None})
    page = read(run)
    assert page.text.count("GAUC") == 1
    assert "No user column, so GAUC is not computed." in page.text
