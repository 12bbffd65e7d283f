"""What a sample shows of a column: type, distinct values, missing values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import polars as pl

from pipeline.features.inference import parse_text

Kind = Literal["empty", "bool", "whole", "number", "text", "time", "list", "other"]


@dataclass(frozen=True)
class Profile:
    """A column of the sample."""

    name: str
    kind: Kind
    values: pl.Series
    """Bool, whole numbers (Int64 or UInt64), Float64, text, Datetime, or lists; NaN is null."""
    raw: pl.Series
    """As read; text without blanks around it."""
    separator: str | None = None
    """Of lists in text."""

    @property
    def rows(self) -> int:
        return len(self.values)

    @cached_property
    def missing(self) -> int:
        return self.values.null_count()

    @property
    def present(self) -> pl.Series:
        return self.values.drop_nulls()

    @cached_property
    def distinct(self) -> int:
        """Number of distinct values; of lists: of all their parts."""
        values = self.present
        if self.kind == "list":
            values = values.explode().drop_nulls()
        return int(values.n_unique()) if len(values) else 0

    @property
    def filled(self) -> int:
        return self.rows - self.missing

    @property
    def in_text(self) -> bool:
        """Whether the column as read is text, for example of a CSV file."""
        return self.raw.dtype == pl.String

    @cached_property
    def low(self) -> Any:
        return self.values.min()

    @cached_property
    def high(self) -> Any:
        return self.values.max()

    @property
    def is_binary(self) -> bool:
        """Whether the values are 0 and 1, or false and true."""
        if self.kind == "bool":
            return True
        return self.kind == "whole" and self.distinct > 0 and self.low >= 0 and self.high <= 1

    @cached_property
    def codes(self) -> pl.Series:
        """An integer per distinct value; null if missing. For comparisons, not of lists."""
        if self.kind in ("text", "number") or self.values.dtype == pl.UInt64:
            return self.values.rank("dense").cast(pl.Int64)
        return self.values.to_physical().cast(pl.Int64)


def profile(raw: pl.Series) -> Profile:
    """Return the profile of a column."""
    values = raw
    if isinstance(raw.dtype, (pl.Categorical, pl.Enum)):
        raw = values = raw.cast(pl.String)
    if raw.dtype == pl.String:
        raw = values = _stripped(raw)
    if raw.null_count() == len(raw):
        return Profile(raw.name, "empty", values, raw)
    if raw.dtype == pl.String:
        values = parse_text.typed(raw)
        if values.dtype == pl.String:
            return _text(raw)
    if isinstance(values.dtype, (pl.List, pl.Array)):
        return _list(raw)
    if values.dtype == pl.Boolean:
        return Profile(raw.name, "bool", values, raw)
    if values.dtype == pl.Date:
        values = values.cast(pl.Datetime("us"))
    if isinstance(values.dtype, pl.Datetime):
        if values.dtype.time_zone is not None:
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return Profile(raw.name, "time", values, raw)
    if values.dtype.is_integer():
        wide = values.dtype if values.dtype == pl.UInt64 else pl.Int64
        return Profile(raw.name, "whole", values.cast(wide), raw)
    if values.dtype.is_numeric():
        return _number(values.cast(pl.Float64), raw)
    return Profile(raw.name, "other", values, raw)


def _stripped(text: pl.Series) -> pl.Series:
    """Text without blanks around it; blank text is missing."""
    plain = text.str.strip_chars()
    return pl.select(pl.when(plain != "").then(plain)).to_series().alias(text.name)


def _number(values: pl.Series, raw: pl.Series) -> Profile:
    """Whole numbers if all are, as pandas writes whole numbers of which some are missing."""
    values = values.fill_nan(None)
    present = values.drop_nulls()
    if present.is_empty():
        return Profile(raw.name, "empty", values, raw)
    whole = present.is_finite().all() and bool(((present % 1) == 0).all())
    if whole and float(present.abs().max() or 0) < 2**53:  # type: ignore[arg-type]
        return Profile(raw.name, "whole", values.cast(pl.Int64), raw)
    return Profile(raw.name, "number", values, raw)


def _text(raw: pl.Series) -> Profile:
    if parse_text.is_json_lists(raw):
        return Profile(raw.name, "list", parse_text.json_lists(raw), raw)
    if separator := parse_text.separator_of(raw):
        return Profile(raw.name, "list", raw.str.split(separator), raw, separator)
    return Profile(raw.name, "text", raw, raw)


def _list(raw: pl.Series) -> Profile:
    """Lists of text and numbers. Their parts keep their type."""
    values = raw.arr.to_list() if isinstance(raw.dtype, pl.Array) else raw
    inner = values.dtype.inner  # type: ignore[attr-defined]
    plain = inner == pl.String or inner.is_numeric() or inner == pl.Null
    if isinstance(inner, (pl.Categorical, pl.Enum)):
        values, plain = values.cast(pl.List(pl.String)), True
    return Profile(raw.name, "list" if plain else "other", values, raw)
