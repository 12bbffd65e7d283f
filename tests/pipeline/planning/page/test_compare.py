"""Two plans on one page: what moves, as the command counts it."""

from __future__ import annotations

import numpy as np
import pytest

from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.plans.reshard import reshard
from pipeline.planning.page import rank_charts
from pipeline.planning.page.comparison import side_by_side
from pipeline.planning.page.document import page_content
from pipeline.planning.page.numbers import memory
from pipeline.planning.page.plan_view import PlanView
from tests.browser import Browser
from tests.pipeline.planning.page.conftest import Show


def text_of(browser: Browser, selector: str) -> str:
    found: str = browser.run(f"document.querySelector({selector!r}).innerText")
    return found


def test_what_moves_is_shown(plan: PlanFile, other_plan: PlanFile, show: Show) -> None:
    browser = show(plan, other_plan)
    found = reshard(plan, other_plan)
    assert found.moves
    rows = browser.run(
        "[...document.querySelectorAll('#moves tr.row')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    most = sorted(found.moves, key=lambda move: -move.bytes)
    assert [row[1:3] for row in rows] == [[move.before, move.after] for move in most]
    assert {row[0] for row in rows} == {move.table for move in most}
    bytes_ = sum(move.bytes for move in most)
    assert f"{bytes_ / 1e6:.4g} MB, between" in text_of(browser, "#compare").replace(",", "", 1)
    # The busiest rank shows its bytes.
    browser.run("document.querySelector('#traffic .plot').focus()")
    browser.press("Home", *["ArrowRight"] * found.busiest)
    sent = int(found.sent.sum(axis=1)[found.busiest])
    assert f"sends {sent / 1e6:.4g} MB" in text_of(browser, "#spoken") or sent == 0


def test_both_are_shown_on_the_same_axes(plan: PlanFile, other_plan: PlanFile, show: Show) -> None:
    browser = show(plan, other_plan)
    side = browser.run(
        "[...document.querySelectorAll('#side-by-side tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    shown = {row[0]: row[1:3] for row in side}
    assert shown["ranks"] == ["8", "4"]
    for text, file in zip(shown["busiest rank"], (plan, other_plan), strict=True):
        assert float(text.removesuffix(" ms")) == pytest.approx(file.time_ms, rel=1e-3)
    assert browser.run("document.querySelectorAll('#time .plot').length") == 2


def test_the_list_is_of_the_plan_that_is_chosen(
    plan: PlanFile, other_plan: PlanFile, show: Show
) -> None:
    browser = show(plan, other_plan)
    shards = (
        "Object.fromEntries([...document.querySelectorAll('.plan:not([hidden]) tr.row')]"
        ".map(row => [row.querySelector('.opens').textContent, Number(row.cells[7].textContent)]))"
    )
    for index, file in ((1, other_plan), (0, plan)):
        browser.run(
            "(() => { const choice = document.querySelector('#tables [data-choose]');"
            f"choice.selectedIndex = {index}; choice.dispatchEvent(new Event('change')); }})()"
        )
        browser.settle()
        assert browser.run(shards) == {
            placed.table.name: len(placed.rank_list()) for placed in file.tables
        }


def test_a_plan_moves_nowhere_from_itself(plan: PlanFile, show: Show) -> None:
    browser = show(plan, plan)
    assert "Nothing moves" in text_of(browser, "#compare")


def test_the_content_is_what_the_plans_say(plan: PlanFile, other_plan: PlanFile) -> None:
    content = page_content([("a", plan), ("b", other_plan)], None, options=3)
    used, _ = plan.memory()
    for chart, values in (
        (content["time"][0], plan.rated()),
        (content["memory"][0], used[:, 0] / 2**30),
    ):
        bars = [trace["y"] for trace in chart["figure"]["data"] if trace["type"] == "bar"]
        assert np.sum(bars, axis=0) == pytest.approx(values, rel=1e-3)
    # Every shard of every table is on the map.
    for placed, table in zip(plan.tables, content["maps"][0]["tables"], strict=True):
        shards = [
            [rank, row + (0 if table["copied"] else i * rows), column, rows, columns]
            for first, count, row, rows, column, columns in table["runs"]
            for i, rank in enumerate(range(first, first + count))
        ]
        assert shards == [
            [rank, *rectangle]
            for rank, rectangle in zip(
                placed.rank_list(), placed.rectangles().tolist(), strict=True
            )
        ]
    costly = sorted(plan.tables, key=lambda one: -plan.shard_times(one).sum())
    rows = content["plans"][0]["list"].rows
    assert [row.cells[0].text for row in rows] == [placed.table.name for placed in costly]
    assert [bool(row.detail["options"]) for row in rows] == [i < 3 for i in range(len(rows))]
    found = reshard(plan, other_plan)
    moved = content["comparison"]["table"].rows
    assert sum(row.cells[3].value or 0 for row in moved) == sum(move.bytes for move in found.moves)


def test_the_fullest_rank_is_the_one_closest_to_its_own_memory(plan: PlanFile) -> None:
    used = plan.memory()[0][:, 0]
    least = int(used.argmin())
    ranks = list(plan.ranks)
    ranks[least] = ranks[least].model_copy(update={"room": ranks[least].bytes})
    view = PlanView("a", plan.model_copy(update={"ranks": tuple(ranks)}))
    size = memory(used[least])
    assert 0 < used[least] < used.max()
    assert ("HBM, fullest rank", f"{size} of {size} (100%)") in view.summary()
    shown = {title: text for title, text, _, _ in side_by_side(view, view)}
    assert shown["HBM, fullest rank"] == shown["HBM, available there"] == size


@pytest.mark.parametrize("count", [0, 1, 64, 65])
def test_few_ranks_are_bars_and_many_are_steps(count: int, plan: PlanFile) -> None:
    data = rank_charts.figure_of([], [], "ms", 1, 100, world=count)["data"]
    assert data == []
    stack = rank_charts.BarStack("a", "#000", np.ones(count))
    (trace,) = rank_charts.figure_of([stack], [], "ms", 1, 100, world=count)["data"]
    assert (trace["type"] == "bar") == (count <= 64)
    assert trace["y"] == [1] * count
