"""Columns kept as distinct values give what the rows themselves give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

from pipeline.data.table.spec import TableSpec
from pipeline.features.checks import bad_rows, describe
from pipeline.features.distinct import Rows
from pipeline.features.fit import Counts, fit_frame
from pipeline.features.program import FeatureProgram
from tests.pipeline.data.table.tables import spec, table

ROWS = 4000
SCALAR = ["user", "item", "words", "age", "time", "click", "stay"]
Made = tuple[TableSpec, pl.DataFrame, FeatureProgram, Rows]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    frame = table(ROWS).with_columns(
        pl.col("click").cast(pl.String), pl.col("stay").round(), pl.col("time").dt.to_string()
    )
    given = spec(tmp_path)
    program = FeatureProgram(given.features, given.labels, frame.schema, user="user")
    rows = Rows.from_arrow(frame.to_arrow(), SCALAR)
    assert {"user", "item", "words", "age", "click", "stay"} <= rows._coded.keys()
    return given, frame, program, rows


def test_columns_and_rows_are_the_same(made: Made) -> None:
    _, frame, _, rows = made
    kept = np.arange(ROWS) % 3 == 0
    assert len(rows) == ROWS
    assert_frame_equal(rows.frame.select(frame.columns), frame)
    assert_frame_equal(rows.filter(kept).frame.select(frame.columns), frame.filter(pl.Series(kept)))


def test_raw_encoded_and_counted_values_are_the_same(made: Made) -> None:
    given, frame, program, rows = made
    fitted = fit_frame(program, frame)
    plain, coded = program.raw_columns(Rows(frame)), program.raw_columns(rows)
    assert list(plain) == list(coded)
    for name in plain:
        assert_series_equal(plain[name].series, coded[name].series)
    assert_frame_equal(program.encode(rows, fitted), program.encode(frame, fitted))
    kept = np.arange(ROWS) % 3 == 0
    counts = Counts(given.features)
    counts.add(coded, kept)
    found = counts.fit(counts.low)
    counts = Counts(given.features)
    counts.add(program.raw_columns(Rows(frame).filter(kept)), np.ones(kept.sum(), dtype=bool))
    wanted = counts.fit(counts.low)
    assert found.standards == wanted.standards
    for name, one in wanted.vocabularies.items():
        assert_series_equal(found.vocabularies[name].ids, one.ids)


def test_the_same_values_are_bad(made: Made) -> None:
    _, frame, program, _ = made
    frame = frame.with_columns(
        click=pl.when(pl.int_range(pl.len()).is_in([7, 3000]))
        .then(pl.lit("maybe"))
        .otherwise("click")
    )
    rows = Rows.from_arrow(frame.to_arrow(), SCALAR)
    left, right = bad_rows(frame, program.checks), bad_rows(rows, program.checks)
    assert left[0] is not None
    assert right[0] is not None
    assert_series_equal(left[0], right[0], check_names=False)
    assert_frame_equal(left[1], right[1])
    assert describe(frame, program.checks, left[1], 5) == describe(
        rows, program.checks, right[1], 5
    )
    # A value that is left in no row is none.
    good = rows.filter((~right[0]).to_numpy())
    assert bad_rows(good, program.checks)[0] is None
