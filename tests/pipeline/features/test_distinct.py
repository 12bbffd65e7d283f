"""Columns kept as distinct values give what the rows themselves give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


WHOLE = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))


@given(
    values=st.lists(WHOLE, min_size=1, max_size=20),
    kind=st.sampled_from([pa.int64(), pa.large_string()]),
    coded=st.booleans(),
)
def test_codes_stand_for_the_values(
    values: list[int | None], kind: pa.DataType, coded: bool
) -> None:
    words = [None if one is None or kind == pa.int64() else str(one) for one in values]
    column = pa.array(values if kind == pa.int64() else words, kind)
    parts = [column, column[1:]] * 2100
    if coded and kind == pa.large_string():
        parts = [part.dictionary_encode() for part in parts]
    rows = Rows.from_arrow(pa.table({"x": pa.chunked_array(parts)}), ["x"])
    assert rows._coded.keys() == {"x"}
    wanted = pl.Series("x", [*column.to_pylist(), *column.to_pylist()[1:]] * 2100, rows["x"].dtype)
    assert_series_equal(rows["x"], wanted)


def test_text_as_dictionaries_of_few_rows_or_not_coded() -> None:
    table = pa.table({"x": pa.array(["b", None, "a"]).dictionary_encode()})
    assert Rows.from_arrow(table, ["x"])["x"].to_list() == ["b", None, "a"]
    assert Rows.from_arrow(table, [])["x"].dtype == pl.String
