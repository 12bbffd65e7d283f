"""Two plans on one page: what moves, as the command counts it."""

from __future__ import annotations

import pytest

from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.plans.reshard import reshard
from pipeline.planning.page.content import page_data
from tests.browser import Browser
from tests.pipeline.planning.page.conftest import Show


def text_of(browser: Browser, selector: str) -> str:
    found: str = browser.run(f"document.querySelector({selector!r}).innerText")
    return found


def test_what_moves_is_told(plan: PlanFile, other_plan: PlanFile, show: Show) -> None:
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
    # Pointing at the busiest rank tells its bytes.
    browser.run("document.querySelector('#traffic canvas').focus()")
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
    assert browser.run("document.querySelectorAll('#time canvas').length") == 2


def test_the_list_is_of_the_plan_that_is_chosen(
    plan: PlanFile, other_plan: PlanFile, show: Show
) -> None:
    browser = show(plan, other_plan)
    shards = (
        "Object.fromEntries([...document.querySelectorAll('#list tr.row')]"
        ".map(row => [row.cells[0].textContent, Number(row.cells[7].textContent)]))"
    )
    for index, file in ((1, other_plan), (0, plan)):
        browser.run(
            "(() => { const choice = document.querySelector('#map select');"
            f"choice.value = '{index}'; choice.dispatchEvent(new Event('change')); }})()"
        )
        browser.settle()
        assert browser.run(shards) == {
            placed.table.name: len(placed.rank_list()) for placed in file.tables
        }


def test_a_plan_moves_nowhere_from_itself(plan: PlanFile, show: Show) -> None:
    browser = show(plan, plan)
    assert "Nothing moves" in text_of(browser, "#compare")


def test_the_data_say_what_the_plan_does(plan: PlanFile, other_plan: PlanFile) -> None:
    data = page_data([("a", plan), ("b", other_plan)], None, options=3)
    first = data["plans"][0]
    used, _ = plan.memory()
    for i, memory in enumerate(("hbm", "ddr")):
        assert first["used"][memory] == used[:, i].tolist()
        assert [
            sum(kinds) for kinds in zip(*first["kinds"][memory].values(), strict=True)
        ] == first["used"][memory]
    costly = sorted(plan.tables, key=lambda one: -one.rated_ms * len(one.rank_list()))
    assert list(first["options"]) == [placed.table.name for placed in costly[:3]]
    found = reshard(plan, other_plan)
    assert sum(data["moves"]["sent"]) == sum(move.bytes for move in found.moves)
    assert sum(data["moves"]["received"]) == sum(data["moves"]["sent"])
