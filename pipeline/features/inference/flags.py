"""Columns that are no features: constant, numbers of rows, copies of other columns, free text."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipeline.features.inference.names import (
    is_each_row,
    is_item_id,
    is_known_afterwards,
    is_user_id,
)
from pipeline.features.inference.parse_text import has_decimal_commas, is_json_lists
from pipeline.features.inference.profile import Profile
from pipeline.features.raw import LARGEST

_UNIQUE = 0.95
"""Share of distinct values over which text has no values that recur."""
_FEWEST = 50
"""Rows that it takes to judge."""


def why_left_out(column: Profile, total_rows: int) -> str | None:
    """Return why a column is no feature; None if it is one. `total_rows`: of the whole table."""
    if column.kind == "empty":
        return "no values"
    if column.kind == "other":
        return f"values of type {column.raw.dtype}"
    if column.distinct <= 1 and column.missing < 0.01 * column.rows:
        return f"constant: {_short(column)}"
    if is_known_afterwards(column.name):
        return "by its name, known only after the label"
    if column.kind == "whole" and _counts_rows(column, total_rows):
        return "number of the row"
    if too_large(column):
        return "infinite values, or beyond float32; write them as missing"
    if column.kind == "list" and column.in_text and is_json_lists(column.raw):
        return "lists as JSON; write lists, or text with a separator such as a|b|c"
    if column.kind == "text":
        return _text(column, total_rows)
    if column.kind == "list" and _is_vector(column):
        return "lists of numbers with fractions, which are no ids"
    unique = column.distinct == column.filled >= _FEWEST
    if unique and column.kind == "whole" and _one_per_row(column, total_rows):
        return "a different value in each row"
    return None


def too_large(column: Profile) -> bool:
    """Whether a number is infinite or beyond float32."""
    return column.kind == "number" and not (column.present.abs() <= LARGEST).all()


def _short(column: Profile) -> str:
    values = column.present
    if column.kind == "list":
        return "empty lists" if not column.distinct else "one value"
    text = str(values[0]) if len(values) else ""
    return text if len(text) <= 40 else f"{text[:40]}..."


def _counts_rows(column: Profile, total_rows: int) -> bool:
    """Unique, increasing, and hardly more numbers than rows."""
    if column.missing or column.distinct != column.rows or column.rows < 3:
        return False
    if not column.values.is_sorted():
        return False
    span = column.high - column.low + 1
    return bool(span <= 1.5 * total_rows) and (column.rows >= _FEWEST or is_each_row(column.name))


def _one_per_row(column: Profile, total_rows: int) -> bool:
    """In part of a table, ids of users and items that recur elsewhere may be unique."""
    whole = column.rows >= total_rows
    keyed = is_user_id(column.name) or is_item_id(column.name)
    return is_each_row(column.name) or (whole and keyed)


def _text(column: Profile, total_rows: int) -> str | None:
    values = column.present
    if column.rows < _FEWEST:
        return None
    if has_decimal_commas(values):
        return "numbers with decimal commas; write them with points"
    unique = column.distinct / column.filled
    words = values.str.count_matches(r"\S+").mean()
    if unique > 0.5 and isinstance(words, float) and words > 3:
        return f"free text: {words:.0f} words, {column.distinct:,} different ones"
    whole = column.rows >= total_rows
    keyed = is_user_id(column.name) or is_item_id(column.name)
    if unique > _UNIQUE and (whole or not keyed or is_each_row(column.name)):
        return f"hardly any value recurs: {column.distinct:,} in {column.filled:,} rows"
    return None


def _is_vector(column: Profile) -> bool:
    inner = column.values.dtype.inner  # type: ignore[attr-defined]
    if not inner.is_float():
        return False
    parts = column.values.explode().drop_nulls().drop_nans()
    return bool(((parts % 1) != 0).any())


def copies(columns: Mapping[str, Profile]) -> dict[str, str]:
    """Return the columns that equal an earlier one in all rows, with its name."""
    seen: dict[tuple[str, int], list[Profile]] = {}
    found = {}
    for name, column in columns.items():
        if column.kind in ("empty", "other"):
            continue
        kind = "number" if column.kind in ("whole", "number") else column.kind
        digest = int(column.values.hash(seed=0).sum()) if kind != "number" else 0
        if kind == "number":
            digest = int(column.values.cast(pl.Float64).hash(seed=0).sum())
        same = seen.setdefault((kind, digest), [])
        twin = next((one for one in same if _equal(one, column)), None)
        if twin:
            found[name] = twin.name
        else:
            same.append(column)
    return found


def _equal(one: Profile, other: Profile) -> bool:
    if one.kind != other.kind:
        return False
    return one.values.equals(other.values.alias(one.name), check_names=False)
