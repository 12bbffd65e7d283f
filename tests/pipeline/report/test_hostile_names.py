"""Names are shown as they are, whatever field of whatever file they stand in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.io.errors import UserError
from pipeline.report.run_report import write_report
from tests.browser import Browser
from tests.hostile import MARKUP, assert_escaped, assert_harmless, poison
from tests.pipeline.report.test_run_report import make_run

FILES = ("results.json", "health.json", "plan.json", "config.json", "schema.json", "metrics.jsonl")


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run with markup in its name and in every field of every file that takes it."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        values = {"experts/a.0/zero_fraction": 0.5, "tasks/click/gradient_norm": 0.5}
        log.write(json.dumps({"kind": "health", "step": 5, "time": 1.7e9, **values}) + "\n")
    for name in FILES:
        path = run / name

        def accepted(lines: list[Any], path: Path = path) -> bool:
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            try:
                write_report(run)
            except UserError:
                return False
            return True

        text = path.read_text(encoding="utf-8")
        lines = text.splitlines() if name.endswith("l") else [text]
        found = poison([json.loads(line) for line in lines], accepted)
        assert accepted(found)
        assert json.dumps(MARKUP)[1:-1] in path.read_text(encoding="utf-8")
    return write_report(run.rename(run.parent / MARKUP.replace("/", "|")[:200]))


def test_names_are_text(hostile_report: Path) -> None:
    assert_escaped(hostile_report.read_text(encoding="utf-8"))


def test_names_do_nothing_in_a_browser(hostile_report: Path, browser: Browser) -> None:
    assert_harmless(browser, hostile_report)


def test_a_report_is_small(tmp_path: Path) -> None:
    assert len(write_report(make_run(tmp_path / "run")).read_bytes()) < 800_000
