"""The browser, and pages that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embeddings.planner.inputs.rules import Rule
from embeddings.planner.plans.plan_file import PlanFile
from pipeline.planning.page.document import plan_page
from tests.browser import Browser
from tests.pipeline.planning.page.plans import plan_of, tables_of

OPTIONS = 5
Show = Callable[..., Browser]


@pytest.fixture(scope="package")
def plan() -> PlanFile:
    """On 2 hosts of 4 ranks; of several sharding types."""
    rules = (
        Rule(tables="table1", types=("table_row_wise",)),
        Rule(tables="table2", types=("row_wise",)),
        Rule(tables="table[345]", types=("table_wise", "column_wise")),
    )
    return plan_of(tables_of(), "h100-4x2", *rules)


@pytest.fixture(scope="package")
def other_plan() -> PlanFile:
    """Of the same tables, on 4 ranks."""
    return plan_of(tables_of(), "h100-4x1")


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Show:
    """Plans in the browser."""

    def found(*plans: PlanFile, options: int = OPTIONS) -> Browser:
        names = [f"{name}.json" for name in "ab"]
        page = tmp_path / "page.html"
        page.write_text(
            plan_page("Plans", list(zip(names, plans, strict=False)), options=options), "utf-8"
        )
        browser.open(page)
        browser.settle()
        return browser

    return found
