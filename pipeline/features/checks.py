"""Checks of raw values: rows with a value that has no meaning for its feature or label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from pipeline.features.distinct import Rows


class Check(NamedTuple):
    """A check of one column."""

    column: str
    is_bad: pl.Expr
    what: str
    """What a bad value is: 'not a number'."""
    remedy: str


class BadValue(NamedTuple):
    """A value that failed a check."""

    row: int
    """Of the frame, from 0."""
    column: str
    value: str
    """Its beginning, for messages."""
    what: str
    remedy: str


_SHOWN = 60


def bad_rows(
    frame: pl.DataFrame | Rows, checks: Sequence[Check]
) -> tuple[pl.Series | None, pl.DataFrame]:
    """Return whether a row is bad, [rows] (None: none is), and the failed checks.

    The second is a table of `row` and `check` (its index), ordered by row.
    """
    none = pl.DataFrame(schema={"row": pl.UInt32, "check": pl.Int64})
    if not checks:
        return None, none
    rows = frame if isinstance(frame, Rows) else Rows(frame)
    flags = rows.select(
        [check.is_bad.fill_null(False).alias(str(index)) for index, check in enumerate(checks)]
    )
    failed = {
        index: flags[str(index)].series
        for index in range(len(checks))
        if flags[str(index)].values.any()
    }
    # A value without rows may have failed.
    failed = {index: found for index, found in failed.items() if found.any()}
    if not failed:
        return None, none
    found = pl.concat(
        pl.DataFrame({"row": flag.arg_true()}).with_columns(check=pl.lit(index, dtype=pl.Int64))
        for index, flag in failed.items()
    ).sort("row", "check")
    return pl.DataFrame(list(failed.values())).select(pl.any_horizontal("*")).to_series(), found


def describe(
    frame: pl.DataFrame | Rows, checks: Sequence[Check], failed: pl.DataFrame, limit: int
) -> list[BadValue]:
    """Describe the first `limit` failed checks."""
    found = []
    for row, index in failed.head(limit).iter_rows():
        check = checks[index]
        value = frame[check.column][row]
        value = value.to_list() if isinstance(value, pl.Series) else value
        shown = repr(value) if isinstance(value, str) else str(value)
        shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
        found.append(BadValue(row, check.column, shown, check.what, check.remedy))
    return found
