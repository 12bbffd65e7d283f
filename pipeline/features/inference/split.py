"""Proposes how rows are split into train, val and test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.features.inference.labels import check_columns, percent
from pipeline.features.inference.profile import Profile
from pipeline.features.inference.times import Clock, time_split
from pipeline.io.errors import UserError

_VAL = re.compile(r"val(id(ation)?)?|dev|eval", re.IGNORECASE)
_TEST = re.compile(r"test(ing)?|hold_?out", re.IGNORECASE)
_MOST = 1_000
"""Distinct values of a column that rows can be split by."""


@dataclass(frozen=True)
class Split:
    """A proposed split."""

    fields: Mapping[str, Any]
    """As written under data.split."""
    why: str

    @property
    def by(self) -> str:
        return str(self.fields["by"])

    @property
    def column(self) -> str | None:
        return self.fields.get("column")


def propose_split(columns: Mapping[str, Profile], wish: str | None, clock: Clock | None) -> Split:
    """Return the split by time if there is one, else at random. Raises UserError for a bad wish."""
    way, _, column = (wish or ("time" if clock else "random")).partition(":")
    if way == "column" and column:
        check_columns("--split", [column], columns)
        return _by_column(columns[column])
    if way == "random" and not column:
        return Split({"by": "random", "val": 0.1, "test": 0.1}, "by a hash of the row's number")
    if way != "time" or column:
        raise UserError(f"--split: {wish!r}: write time, random or column:NAME")
    if clock is None:
        raise UserError("--split: time: no column of times found; name one with --time")
    missing = clock.micros.null_count()
    found = None if missing else time_split(clock)
    if found is None:
        why = f"is missing in {missing:,} sampled rows" if missing else "hardly varies"
        if wish is not None:
            raise UserError(f"--split: time: {clock.column!r} {why}; use random")
        return Split({"by": "random", "val": 0.1, "test": 0.1}, f"{clock.column} {why}")
    shares = ", ".join(map(percent, found.shares))
    fields = {
        "by": "time",
        "column": clock.column,
        "val_from": found.val_from,
        "test_from": found.test_from,
    }
    return Split(fields, f"{shares} of the sample")


def _by_column(column: Profile) -> Split:
    """By values called val and test; else the last value is test, the one before val."""
    if column.kind not in ("text", "whole", "bool") or not 2 <= column.distinct <= _MOST:
        raise UserError(
            f"--split: column {column.name!r} has {column.distinct:,} distinct {column.kind} values"
            f"; name a column with 2 to {_MOST:,} whole numbers or texts"
        )
    values = column.present.unique().sort().to_list()
    if column.kind == "bool" and column.in_text:
        values = column.raw.drop_nulls().unique().sort().to_list()
    val = [one for one in values if isinstance(one, str) and _VAL.fullmatch(one)]
    test = [one for one in values if isinstance(one, str) and _TEST.fullmatch(one)]
    why = "by the names of the values"
    if not val and not test:
        val, test = ([values[-2]], [values[-1]]) if len(values) > 2 else ([values[-1]], [])
        why = "the last values; choose those that you mean"
    elif not val:
        val, test = test, []
        why += "; no test rows"
    return Split({"by": "column", "column": column.name, "val": val, "test": test}, why)
