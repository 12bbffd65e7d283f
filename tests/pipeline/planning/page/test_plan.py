"""A plan's page in a real browser: what it shows is what the plan's file says."""

from __future__ import annotations

import numpy as np
import pytest

from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import MEMORIES
from tests.browser import Browser
from tests.pipeline.planning.page.conftest import Show
from tests.pipeline.planning.page.plans import HOSTILE, LISTED, plan_of, tables_of

TIP = "document.querySelector('.tip').hidden ? null : document.querySelector('.tip').innerText"


SHOWN = "document.querySelector('#shown').textContent"


def place_on(browser: Browser, plot: str, x: float, y: float) -> tuple[float, float]:
    """A point of the window; x and y are shares of the plot's area."""
    browser.middle(plot)
    left, top, width, height = browser.run(
        f"(() => {{ const box = document.querySelector('{plot} .nsewdrag').getBoundingClientRect();"
        "return [box.x, box.y, box.width, box.height]; })()"
    )
    return left + x * width, top + y * height


def tip_at(browser: Browser, plot: str, x: float, y: float) -> str:
    """The tooltip there; Plotly looks at the mouse at most every 50 ms."""
    browser.run("document.querySelector('.tip').hidden = true")
    browser.mouse("moved", *place_on(browser, plot, x, y))
    browser.run(f"""new Promise((done, fail) => {{
        const end = performance.now() + 20000;
        (function look() {{
            if ({TIP} !== null) done();
            else if (performance.now() > end) fail(new Error('no tooltip'));
            else requestAnimationFrame(look);
        }})(); }})""")
    found: str = browser.run(TIP)
    return found


def test_a_rank_says_what_it_takes(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    used, room = plan.memory()
    hbm = MEMORIES.index("hbm")
    for rank in range(plan.cluster.ranks):
        x = (rank + 0.5) / plan.cluster.ranks
        first, *parts = tip_at(browser, "#time .plot", x, 0.5).split("\n")
        name, ms = first.split(": ")
        assert name == f"rank {rank}, host {rank // 4}"
        assert float(ms.removesuffix(" ms")) == pytest.approx(plan.rated()[rank], rel=1e-3)
        shown = sum(float(part.split(" ")[2]) for part in parts if part.startswith(("for", "back")))
        assert shown == pytest.approx(plan.rated()[rank], rel=2e-3)
        tip = tip_at(browser, "#memory .plot", x, 0.5)
        assert f"({100 * used[rank, hbm] / room[rank, hbm]:.3g}% used)" in tip
        assert "weights" in tip
    browser.mouse("moved", 5, 5)
    assert browser.run(TIP) is None


def test_a_cell_of_the_map_is_painted_where_a_shard_lies(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    browser.settle()
    painted = browser.run(
        "document.querySelector('.map').data[0].z"
        ".map(row => row.map((value, rank) => value === null ? -1 : rank).filter(x => x >= 0))"
    )
    names = browser.run(LISTED)
    assert {placed.sharding_type for placed in plan.tables} >= {"row_wise", "table_row_wise"}
    assert dict(zip(names, painted, strict=True)) == {
        placed.table.name: sorted(set(placed.rank_list())) for placed in plan.tables
    }
    # The tooltip has the rows and columns.
    row = names.index("table2")
    first, _, rows, columns = plan.find("table2").rectangles()[2].tolist()
    found = tip_at(browser, ".map", 2.5 / 8, (row + 0.5) / 12)
    assert f"rows {first:,} to {first + rows - 1:,} ({rows:,}), columns 0 to {columns - 1}" in found


def test_busiest_ranks_come_first_if_asked(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    browser.run(
        "(() => { const order = document.querySelector('#order'); order.value = 'busiest';"
        "order.dispatchEvent(new Event('change')); })()"
    )
    browser.settle()
    order = np.argsort(-plan.rated(), kind="stable").tolist()
    assert browser.run("document.querySelector('#time .plot').layout.xaxis.ticktext") == order
    assert tip_at(browser, "#time .plot", 0.5 / 8, 0.5).startswith(f"rank {order[0]},")
    name = browser.run(LISTED)[0]
    cells = browser.run("document.querySelector('.map').data[0].z[0].map(value => value !== null)")
    there = plan.find(name).rank_list()
    assert cells == [rank in there for rank in order]


def test_the_keyboard_is_enough(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    spoken = "document.querySelector('#spoken').textContent"
    browser.run("document.querySelector('#time .plot').focus()")
    browser.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert browser.run(spoken).startswith("rank 3, host 0: ")
    browser.press("End", "+")
    assert browser.run(SHOWN) == "4 of 8 ranks"
    browser.press("Escape")
    assert browser.run(SHOWN) == ""
    browser.press("Enter")  # lists the tables of the rank under the cursor
    assert browser.run("document.querySelector('[name=rank]').value") == "7"
    browser.run("document.querySelector('.map').focus()")
    browser.press("ArrowDown")
    assert browser.run(spoken).startswith(browser.run(LISTED)[1])
    browser.press("Enter")
    browser.settle()
    focused = "document.activeElement.textContent"
    assert browser.run(focused) == browser.run(LISTED)[1]
    assert browser.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    browser.press("ArrowUp")
    assert browser.run(focused) == browser.run(LISTED)[0]
    # Whatever can be worked can be reached with Tab and has a name.
    unnamed = browser.run(
        "[...document.querySelectorAll('button, .chart, .map, select, input, [tabindex]')]"
        ".filter(node =>"
        " node.tabIndex < 0 || !(node.textContent || node.getAttribute('aria-label') || node.labels?.length)).length"  # noqa: E501
    )
    assert unnamed == 0


def test_a_drag_shows_fewer_ranks_and_a_double_click_all(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    start = place_on(browser, "#time .plot", 2.1 / 8, 0.5)
    end = place_on(browser, "#time .plot", 4.9 / 8, 0.5)
    browser.drag(start, end)
    assert browser.run(SHOWN) == "3 of 8 ranks"
    assert tip_at(browser, "#time .plot", 0.1, 0.5).startswith("rank 2, ")
    browser.click_at(*place_on(browser, "#memory .plot", 0.5, 0.5), clicks=2)
    assert browser.run(SHOWN) == ""


def test_names_are_text_and_nothing_else(show: Show) -> None:
    plan = plan_of(tables_of(6, HOSTILE), "cpu-2x1", rounds=10)
    browser = show(plan)
    assert set(browser.run(LISTED)) == {placed.table.name for placed in plan.tables}
    for i in range(4):  # open all with options, and point at them
        browser.run(f"document.querySelectorAll('.list .opens')[{i}].click()")
        browser.settle()
        assert tip_at(browser, ".map", 0.2, (i + 0.5) / 6)
    made = "document.querySelectorAll('main img, main [onload], main script:not([type])').length"
    assert browser.run(made) == 0
    assert browser.run("typeof harm") == "undefined"


def test_it_reads_in_the_dark_and_on_a_phone(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    ratio = """(() => {
        const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(c => c / 255)
            .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b; };
        const of = node => { const [a, b] = [getComputedStyle(node).color, ground(node)].map(light);
            return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); };
        const ground = node => { const own = getComputedStyle(node).backgroundColor;
            return /, 0\\)$/.test(own) ? ground(node.parentElement) : own; };
        return Math.min(...[...document.querySelectorAll('h1, h2, h3, p, dt, dd, .row td, .row th, thead button')].map(of));
    })()"""  # noqa: E501
    assert browser.run(ratio) > 4.5
    browser.dark(True)
    assert browser.run(ratio) > 4.5
    browser.resize(390, 800)
    # Plotly resizes its charts 100 ms later; this has no end if they do not become that narrow.
    browser.run(
        "new Promise(done => { const check = () => document.documentElement.scrollWidth <= 390"
        " ? done(true) : requestAnimationFrame(check); check(); })"
    )
    assert browser.run("document.querySelector('#time .plot svg').clientWidth") < 390
