"""Pages of plans and sweeps show names as they are, whatever field of a file they stand in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embeddings.planner.plans.plan_file import PlanFile
from pipeline.planning.page.document import plan_page
from pipeline.planning.page.sweep_file import read_sweep
from tests.browser import Browser
from tests.hostile import MARKUP, assert_escaped, assert_harmless, poison
from tests.pipeline.planning.page.plans import plan_of, tables_of
from tests.pipeline.planning.page.test_sweep import written as written  # a fixture


def show_plan(found: Any) -> str:
    return plan_page(MARKUP, [(MARKUP, PlanFile.model_validate(found))], options=2)


def show_sweep(found: Any) -> str:
    return plan_page(MARKUP, [], read_sweep(found, "sweep"), options=2)


def hostile(found: Any, show: Callable[[Any], str], folder: Path) -> Path:
    def accepted(changed: Any) -> bool:
        try:
            show(changed)
        except (ValueError, KeyError, AssertionError):
            return False
        return True

    found = poison(found, accepted)
    page = folder / "page.html"
    page.write_text(show(found), encoding="utf-8")
    assert json.dumps(found).count(json.dumps(MARKUP)[1:-1]) > 1
    assert_escaped(page.read_text(encoding="utf-8"))
    return page


def test_a_plan(browser: Browser, tmp_path: Path) -> None:
    plan = plan_of(tables_of(6), "cpu-2x1", rounds=10)
    found = json.loads(plan.model_dump_json())
    assert_harmless(browser, hostile(found, show_plan, tmp_path))


def test_a_sweep(written: dict[str, Any], browser: Browser, tmp_path: Path) -> None:
    assert_harmless(browser, hostile(written, show_sweep, tmp_path))


@pytest.mark.parametrize("show", [show_plan, show_sweep])
def test_without_a_browser(
    show: Callable[[Any], str], written: dict[str, Any], tmp_path: Path
) -> None:
    found = written
    if show is show_plan:
        found = json.loads(plan_of(tables_of(3), "cpu-2x1", rounds=10).model_dump_json())
    hostile(found, show, tmp_path)
