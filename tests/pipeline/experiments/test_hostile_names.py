"""Pages of searches and studies show names as they are, whatever field they stand in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.rolling.file_types import load_rolling
from pipeline.experiments.rolling.report import write_rolling_report
from pipeline.experiments.search_report import FOUND, read_found, write_tune_report
from pipeline.experiments.study import NAME, load_study
from pipeline.experiments.study_report import write_study_report
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from tests.browser import Browser
from tests.hostile import MARKUP, assert_escaped, assert_harmless, poison
from tests.pipeline.experiments.rolling.studies import rolling_study
from tests.pipeline.experiments.studies import study
from tests.pipeline.experiments.test_search_report import TRIALS, search

PAGES: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path, Any], Path], Callable[[], Any]]]
PAGES = {
    "search": (
        FOUND,
        read_found,
        write_tune_report,
        lambda: search(TRIALS, 2, importance={"dense.lr": 0.9}),
    ),
    "study": (NAME, load_study, write_study_report, study),
    "rolling": (NAME, load_rolling, write_rolling_report, rolling_study),
}


def hostile(kind: str, folder: Path) -> Path:
    name, read, write, made = PAGES[kind]

    def accepted(found: Any) -> bool:
        write_json(folder / name, found)
        try:
            write(folder, read(folder))
        except UserError:
            return False
        return True

    found = poison(json.loads(json.dumps(made())), accepted, keys=False)
    assert accepted(found)
    assert json.dumps(found).count(json.dumps(MARKUP)[1:-1]) > 10
    return folder / "report.html"


@pytest.mark.parametrize("kind", PAGES)
def test_names_are_text(kind: str, tmp_path: Path) -> None:
    assert_escaped(hostile(kind, tmp_path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["search", "study"])  # those with charts
def test_names_do_nothing_in_a_browser(kind: str, tmp_path: Path, browser: Browser) -> None:
    assert_harmless(browser, hostile(kind, tmp_path))
