"""The page's list of tables: sorting, filters, what opens under a table, thousands of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from embeddings.planner.advice.alternatives import alternatives, why
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from tests.pipeline.planning.page.conftest import OPTIONS, Show
from tests.pipeline.planning.page.plans import LISTED, plan_of, tables_of


def test_every_column_sorts_both_ways(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    tables = {placed.table.name: placed for placed in plan.tables}
    keys: dict[str, Callable[[PlacedTable], Any]] = {
        "rows": lambda placed: placed.table.rows,
        "dim": lambda placed: placed.table.dim,
        "shards": lambda placed: len(placed.rank_list()),
        "ms per shard": lambda placed: float(f"{plan.shard_times(placed).max():.6g}"),
        "sharding type": lambda placed: placed.sharding_type,
    }
    heads = browser.run(
        "[...document.querySelectorAll('#tables thead th')].map(head => head.textContent)"
    )
    for title, key in keys.items():
        numbers = title != "sharding type"
        head = f"#tables thead th:nth-child({heads.index(title) + 1})"
        for _ in range(2):
            browser.click(f"{head} button")
            shown = [key(tables[name]) for name in browser.run(LISTED)]
            way = browser.run(f"document.querySelector('{head}').getAttribute('aria-sort')")
            assert shown == sorted(shown, reverse=way == "descending")
        assert (way == "ascending") == numbers  # numbers come largest first


def test_filters_narrow_the_list_and_the_map(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    browser.click("[name=text]")
    browser.write("TABLE1-b")  # a feature's name
    assert browser.run(LISTED) == ["table1"]
    browser.run("document.querySelector('[name=text]').select()")
    browser.press("Backspace")
    browser.click("[name=rank]")
    browser.write("5")
    there = {placed.table.name for placed in plan.tables if 5 in placed.rank_list()}
    assert set(browser.run(LISTED)) == there
    assert browser.run("document.querySelector('.plan [role=status]').textContent").startswith(
        str(len(there))
    )


def test_a_table_opens_with_its_options(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    name = browser.run(LISTED)[0]
    browser.click(".list .opens")
    found = alternatives(plan, name)
    detail = browser.run("document.querySelector('.list tr.detail').innerText")
    assert why(plan, name, found) in detail
    rows = browser.run(
        "[...document.querySelectorAll('.list .options tbody tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert [row[:2] for row in rows] == [[one.sharding_type, one.kernel] for one in found]
    assert [row[5] == "chosen" for row in rows] == [one.chosen for one in found]
    for row, one in zip(rows, found, strict=True):
        assert one.plan_ms is not None
        assert float(row[4].replace(",", "")) == pytest.approx(one.plan_ms, rel=1e-3)
    # Of a table whose options the page does not have, the command that tells them.
    last = browser.run(f"({LISTED}).length")
    browser.run(f"document.querySelectorAll('.list .opens')[{last - 1}].click()")
    browser.settle()
    name = browser.run(LISTED)[-1]
    assert f"homerec plan show a.json {name}" in browser.run(
        "document.querySelector('.list tr.detail').innerText"
    )
    assert f"for the {OPTIONS} tables" in browser.run("document.querySelector('#tables').innerText")


def test_a_long_list_has_no_more_rows_in_the_document_than_were_scrolled_to(show: Show) -> None:
    plan = plan_of(tables_of(300), "h100-2x1", rounds=0)
    browser = show(plan, options=1)
    assert browser.run(f"({LISTED}).length") == 100
    browser.click(".list .opens")
    browser.press("ArrowDown", "ArrowDown")
    focused = "document.activeElement.textContent"
    assert browser.run(focused) == browser.run(LISTED)[2]
    for _ in range(9):  # scrolling to the end, every row comes
        browser.run("document.querySelector('.list').closest('.long').scrollTop = 1e9")
        browser.settle()
    names = browser.run(LISTED)
    costly = sorted(plan.tables, key=lambda one: -plan.shard_times(one).sum())
    assert names == [placed.table.name for placed in costly]
    # Sorted anew there are few; End goes to the last.
    browser.click(".list thead button")
    assert browser.run(f"({LISTED}).length") == 100
    browser.run("document.querySelector('.list .opens').focus()")
    browser.press("End")
    assert browser.run(focused) == max(names, key=lambda name: int(name.removeprefix("table")))
    assert browser.run(
        "(() => { const list = document.querySelector('.long').getBoundingClientRect(),"
        "row = document.activeElement.getBoundingClientRect();"
        "return row.top > list.top && row.bottom < list.bottom + 1; })()"
    )
