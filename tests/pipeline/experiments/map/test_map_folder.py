"""map.json and map.html: what is measured is in them, at any stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.experiments.map.map_folder import load_map, plan_of, save_map
from pipeline.experiments.map.map_page import cell_table, write_map_page
from pipeline.experiments.map.map_words import answers
from pipeline.io.errors import UserError
from tests.browser import Browser
from tests.pipeline.experiments.map.plans import TINY, write_results
from tests.pipeline.report.page import Page


def test_a_map_without_results_has_a_page(tmp_path: Path) -> None:
    found = save_map(tmp_path, TINY)
    assert found["done"] == 0
    assert load_map(tmp_path) == found
    assert "a finished cell" in Page(write_map_page(tmp_path, TINY, found).read_text("utf-8")).text


def test_the_page_shows_every_cell(tmp_path: Path) -> None:
    write_results(tmp_path)
    found = save_map(tmp_path, TINY)
    assert load_map(tmp_path) == found
    assert (found["done"], len(found["cells"])) == (10, 5)
    page = Page(write_map_page(tmp_path, TINY, found).read_text("utf-8"))
    values = page.figures["rows and tasks"]["data"][0]["z"]
    cells = {(c["dials"]["rows"], c["dials"]["tasks"]): c for c in found["cells"][:4]}
    for y, tasks in enumerate((2, 3)):
        for x, rows in enumerate((512, 1_024)):
            assert values[y][x] == cells[rows, tasks]["difference"]["mean"]
    assert "Where does HoME pay?" in page.text
    assert cell_table(found).row_count == 5


def test_the_best_rival_is_that_of_validation(tmp_path: Path) -> None:
    write_results(tmp_path)
    for cell in save_map(tmp_path, TINY)["cells"]:
        assert cell["rival"] == "mmoe"
        assert cell["difference"]["n"] == 2
        gap = cell["towers"]["home"]["score"]["mean"] - cell["towers"]["mmoe"]["score"]["mean"]
        assert cell["difference"]["mean"] == pytest.approx(gap)


def test_no_region_is_said_plainly(tmp_path: Path) -> None:
    write_results(tmp_path)
    found = save_map(tmp_path, TINY)
    for region in found["rule"]["regions"]:
        region["conclusion"] = "inconclusive"
    assert "In no region is HoME better" in dict(answers(found))["Where does HoME pay?"]


def test_the_page_works_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    write_results(tmp_path)
    browser.open(write_map_page(tmp_path, TINY, save_map(tmp_path, TINY)))
    assert browser.run("document.querySelectorAll('.plot .main-svg').length > 0")


def test_another_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no map"):
        plan_of(tmp_path, None, [], None)
    save_map(tmp_path, TINY)
    with pytest.raises(UserError, match=r"--seeds: the map in .* has 2, not 3"):
        plan_of(tmp_path, None, [], 3)
    assert plan_of(tmp_path, None, [], None).towers == TINY.towers


def test_a_damaged_map_is_one_line(tmp_path: Path) -> None:
    save_map(tmp_path, TINY)
    text = (tmp_path / "map.json").read_text("utf-8")
    (tmp_path / "map.json").write_text(text.replace('"jobs": 10', '"jobs": "ten"'), "utf-8")
    with pytest.raises(UserError, match=r"map\.json: jobs: 'ten' is not .*name another folder"):
        load_map(tmp_path)
