"""A plan's page in a real browser: what it shows is what the plan's file says."""

from __future__ import annotations

import pytest

from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import MEMORIES
from tests.browser import Browser
from tests.pipeline.planning.page.conftest import Show
from tests.pipeline.planning.page.plans import HOSTILE, LISTED, plan_of, tables_of

TIP = "document.querySelector('.tip').hidden ? null : document.querySelector('.tip').innerText"


def place_on(browser: Browser, canvas: str, x: float, y: float) -> tuple[float, float]:
    """Of the window; x and y: shares of the charts' own box, whose edges canvas.js gives."""
    browser.middle(canvas)
    left, top, width, height = browser.run(
        f"(() => {{ const box = document.querySelector('{canvas}').getBoundingClientRect();"
        "return [box.x, box.y, box.width, box.height]; })()"
    )
    edge = 150 if "map" in canvas else 64
    return left + edge + x * (width - edge - 12), top + 10 + y * (height - 36)


def test_a_rank_says_what_it_takes(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    used, room = plan.memory()
    hbm = MEMORIES.index("hbm")
    for rank in range(plan.cluster.ranks):
        x = (rank + 0.5) / plan.cluster.ranks
        browser.mouse("moved", *place_on(browser, "#time canvas", x, 0.5))
        first, *parts = browser.run(TIP).split("\n")
        name, ms = first.split(": ")
        assert name == f"rank {rank}, host {rank // 4}"
        assert float(ms.removesuffix(" ms")) == pytest.approx(plan.rated()[rank], rel=1e-3)
        shown = sum(float(part.split(" ")[2]) for part in parts if part.startswith(("for", "back")))
        assert shown == pytest.approx(plan.rated()[rank], rel=2e-3)
        browser.mouse("moved", *place_on(browser, "#memory canvas", x, 0.5))
        told = browser.run(TIP)
        assert f"({100 * used[rank, hbm] / room[rank, hbm]:.3g}% used)" in told
        assert "weights" in told
    browser.mouse("moved", 5, 5)
    assert browser.run(TIP) is None


def test_a_cell_of_the_map_is_painted_where_a_shard_lies(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    # In the order of the list, the middle of every cell of the canvas, whether it has a colour.
    painted = browser.run(f"""(() => {{
        const canvas = document.querySelector('#map canvas'), {{ width, height }} = canvas;
        const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
        const [high, wide] = [(height - 36) / 12, (width - 162) / 8];
        return {LISTED}.map((name, row) => [name, [0, 1, 2, 3, 4, 5, 6, 7].filter(rank => {{
            const [x, y] = [150 + (rank + .4) * wide, 10 + (row + .4) * high].map(Math.round);
            const [r, g, b] = pixels.slice(4 * (y * width + x));
            return Math.max(r, g, b) - Math.min(r, g, b) > 60;
        }})]);
    }})()""")
    assert {placed.sharding_type for placed in plan.tables} >= {"row_wise", "table_row_wise"}
    assert dict(painted) == {
        placed.table.name: sorted(set(placed.rank_list())) for placed in plan.tables
    }
    # And it says which rows and columns.
    row = [name for name, _ in painted].index("table2")
    browser.mouse("moved", *place_on(browser, "#map canvas", 2.5 / 8, (row + 0.5) / 12))
    first, _, rows, columns = plan.find("table2").rectangles()[2].tolist()
    told = browser.run(TIP)
    assert f"rows {first:,} to {first + rows - 1:,} ({rows:,}), columns 0 to {columns - 1}" in told


def test_the_keyboard_is_enough(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    spoken = "document.querySelector('#spoken').textContent"
    part = "document.querySelector('#ranks .controls .note').textContent"
    browser.run("document.querySelector('#time canvas').focus()")
    browser.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert browser.run(spoken).startswith("rank 3, host 0: ")
    browser.press("End", "+")
    assert browser.run(part) == "4 ranks of 8"
    browser.press("Escape")
    assert browser.run(part) == ""
    browser.press("Enter")  # lists the tables of the rank under the cursor
    assert browser.run("document.querySelector('#filter-rank').value") == "7"
    browser.run("document.querySelector('#map canvas').focus()")
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
        "[...document.querySelectorAll('button, canvas, select, input, [tabindex]')].filter(node =>"
        " node.tabIndex < 0 || !(node.textContent || node.getAttribute('aria-label') || node.labels?.length)).length"  # noqa: E501
    )
    assert unnamed == 0


def test_a_drag_shows_fewer_ranks_and_a_double_click_all(plan: PlanFile, show: Show) -> None:
    browser = show(plan)
    part = "document.querySelector('#ranks .controls .note').textContent"
    start = place_on(browser, "#time canvas", 2.1 / 8, 0.5)
    end = place_on(browser, "#time canvas", 4.9 / 8, 0.5)
    browser.drag(start, end)
    assert browser.run(part) == "3 ranks of 8"
    browser.mouse("moved", *place_on(browser, "#time canvas", 0.1, 0.5))
    assert browser.run(TIP).startswith("rank 2, ")
    browser.click_at(*place_on(browser, "#memory canvas", 0.5, 0.5), clicks=2)
    assert browser.run(part) == ""


def test_names_are_text_and_nothing_else(show: Show) -> None:
    plan = plan_of(tables_of(6, HOSTILE), "cpu-2x1", rounds=10)
    browser = show(plan)
    assert set(browser.run(LISTED)) == {placed.table.name for placed in plan.tables}
    for i in range(4):  # open all with options, and point at them
        browser.run(f"document.querySelectorAll('#list button.opens')[{i}].click()")
        browser.settle()
        browser.mouse("moved", *place_on(browser, "#map canvas", 0.2, (i + 0.5) / 6))
        assert browser.run(TIP)
    assert browser.run("document.querySelectorAll('img, main svg, main script').length") == 0
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
    browser.settle()
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.run("document.querySelector('#time canvas').clientWidth") < 390
