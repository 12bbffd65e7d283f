"""The console in a real browser, by mouse and keyboard, on a desk and on a phone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, find_browser, open_browser
from tests.pipeline.exported import FRAME
from tests.pipeline.serving.client import Client, running
from tests.pipeline.serving.test_formula import keys
from tests.pipeline.serving.test_rank import COLUMNS

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no browser on this machine")


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    FRAME.select(COLUMNS).write_parquet(path)
    with running(model_folder, keys(), sample=path) as client:
        yield client


@pytest.fixture(scope="module")
def page(server: Client) -> Iterator[Browser]:
    with open_browser() as browser:
        browser.ask("Network.emulateNetworkConditions", offline=False, latency=0,
                    downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip
        browser.ask("Page.navigate", url=f"http://127.0.0.1:{server.port}/")
        wait(browser, "document.querySelector('#message')?.textContent.includes('Bearer TOKEN')")
        browser.faults.clear()  # the 401
        browser.click("#key")
        browser.write("a" * 16)
        browser.press("Tab")
        wait(browser, "document.querySelectorAll('#candidates tbody tr').length === 30")
        yield browser
        assert browser.faults == []


def wait(browser: Browser, condition: str) -> None:
    """Until the page has done what was asked for."""
    end = time.monotonic() + 30
    while not browser.run(condition):
        message = browser.run("document.querySelector('#message')?.textContent")
        assert time.monotonic() < end, (condition, message, browser.faults)


def column(browser: Browser, number: int) -> list[str]:
    found: list[str] = browser.run(
        "[...document.querySelectorAll('#candidates tbody tr')]"
        f".map(row => row.children[{number}].textContent)"
    )
    return found


def weight(browser: Browser, task: str, key: str) -> None:
    browser.run(f"document.querySelector('[data-task={task}]').focus()")
    browser.press(key)


def test_candidates_come_in_the_servers_order(page: Browser, server: Client) -> None:
    scores = [float(text) for text in column(page, 3)]
    assert scores == sorted(scores, reverse=True)
    assert column(page, 1) == column(page, 2) == [str(n + 1) for n in range(30)]
    assert page.run("document.querySelector('#title').textContent") == "model"
    assert page.run("document.querySelectorAll('#metrics tbody tr').length") == 3
    assert page.run("document.querySelectorAll('#live polyline').length") == 4


def test_weights_change_the_order_at_once(page: Browser) -> None:
    before = column(page, 0)
    for task in ("stayed", "teen"):
        weight(page, task, "Home")
    clicks = [float(text) for text in column(page, 4)]
    assert clicks == sorted(clicks, reverse=True)
    assert sorted(column(page, 0)) == sorted(before)
    formula = page.run("document.querySelector('#formula').value")
    assert formula == "1 * click + 0 * stayed + 0 * teen"
    page.click("#reset")
    wait(page, "document.querySelector('#formula').value === 'click + stayed + teen'")


def test_a_formula_is_previewed_and_applied(page: Browser, server: Client) -> None:
    page.run("document.querySelector('#formula').value = '0 - click'")
    page.click("#preview")
    wait(page, "document.querySelector('#formula-note').textContent.startsWith('A preview')")
    clicks = [float(text) for text in column(page, 4)]
    assert clicks == sorted(clicks)
    assert server.app.formulas.current.version == 1
    page.click("#apply")
    wait(page, "document.querySelector('#formula-note').textContent.includes('version 2')")
    assert server.app.formulas.formula == "0 - click"
    page.run("document.querySelector('#formula').value = 'nonsense('")
    page.click("#apply")
    wait(page, "!document.querySelector('#message').hidden")
    assert "formula" in page.run("document.querySelector('#message').textContent")
    page.faults.clear()  # the 422


def test_another_sample_is_picked_by_keyboard(page: Browser) -> None:
    before = json.dumps(page.run("document.querySelector('#request').value"))
    page.run("document.querySelector('#sample').focus()")
    page.press("ArrowDown")
    wait(page, f"document.querySelector('#request').value !== {before}")
    assert page.run("document.querySelector('#sample').value") == "1"


def test_a_phone_shows_it_without_scrolling_sideways(page: Browser) -> None:
    page.resize(360, 740)
    width: Any = page.run("document.documentElement.scrollWidth")
    assert width <= 360
    page.resize(1280, 1000)
