"""The page of a table's check, with names that are markup."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.check_table.check import check_table
from pipeline.data.table.spec import TableSpec
from pipeline.report.table_check import check_page
from tests.browser import Browser
from tests.hostile import MARKUP, assert_escaped, assert_harmless
from tests.pipeline.data.table.tables import silent, table


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a table whose columns, values and files have names that are markup."""
    folder = tmp_path_factory.mktemp("tables")
    log = folder / f"{MARKUP.replace('/', '|')[:200]}.parquet"
    columns = {name: f"{name} {MARKUP}" for name in ("price", "item", "click", "user", "age")}
    frame = table(500).rename(columns)
    bad = pl.when(pl.int_range(500) % 90 == 1).then(pl.lit(MARKUP))
    price = pl.col(columns["price"]).cast(pl.String)
    frame.with_columns(bad.otherwise(price).alias(columns["price"])).write_parquet(log)
    side = folder / f"{MARKUP.replace('/', '|')[:200]} users.csv"
    pl.DataFrame({"key": range(20), "city": [MARKUP] * 20}).write_csv(side)
    spec = TableSpec.model_validate(
        {
            "source": {"path": [str(log)]},
            "join": [{"path": str(side), "on": {columns["user"]: "key"}}],
            "split": {"by": "time", "column": "time", "val_from": "2026-05-12"},
            "labels": {f"click {MARKUP}": {"column": columns["click"]}},
            "features": {
                "item": {"type": "id", "column": columns["item"]},
                "price": {"type": "number", "column": columns["price"]},
                "city": {"type": "id"},
            },
        }
    )
    page = folder / "check.html"
    page.write_text(check_page(MARKUP, check_table(spec, silent)), encoding="utf-8")
    return page


def test_names_are_text(hostile_page: Path) -> None:
    text = hostile_page.read_text(encoding="utf-8")
    assert_escaped(text)
    assert len(text) < 800_000


def test_names_do_nothing_in_a_browser(hostile_page: Path, browser: Browser) -> None:
    assert_harmless(browser, hostile_page)
    shown = browser.run("document.body.innerText")
    for what in ("not a finite number", "Bad values", "missing in train", "Duplicates"):
        assert what in shown
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
