"""Raw values of any type as text, numbers or times, as Polars expressions.

The results depend on the value alone: an id is the same whether a file stores it as int32, as a
float (as pandas does beside missing values), as a category or as text. Null, NaN and empty text are
missing.
"""

from __future__ import annotations

import polars as pl
import polars_hash  # noqa: F401  (registers the namespace `nchash`)
from polars._typing import PolarsDataType

_EXACT = 2.0**53
_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%Y%m%d",
)
_WITH_ZONE = tuple(f"%Y-%m-%d{t}%H:%M{s}%#z" for s in (":%S%.f", "") for t in " T")


def text(column: pl.Expr, dtype: PolarsDataType) -> pl.Expr:
    """Return values as text: '12' for 12, 12.0 and '12'; 'true'; '2026-05-01T12:00:00'."""
    kind = dtype.base_type()
    if kind == pl.Null:
        return column.cast(pl.String)
    if dtype.is_float():
        whole = column.is_finite() & (column.round() == column) & (column.abs() < _EXACT)
        return (
            pl.when(whole)
            .then(pl.when(whole).then(column).cast(pl.Int64).cast(pl.String))
            .when(column.is_not_nan())
            .then(column.cast(pl.String))
        )
    if kind == pl.Decimal:
        plain = column.cast(pl.String)
        return (
            pl.when(plain.str.contains(".", literal=True))
            .then(plain.str.strip_chars_end("0").str.strip_chars_end("."))
            .otherwise(plain)
        )
    if kind == pl.Datetime:
        exact = time(column, dtype).dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
        return exact.str.strip_suffix(".000000")
    if kind == pl.String or kind in (pl.Categorical, pl.Enum):
        stripped = column.cast(pl.String).str.strip_chars()
        return pl.when(stripped != "").then(stripped)
    return column.cast(pl.String)


def hashed(words: pl.Expr) -> pl.Expr:
    """Return 62 bits of xxHash64 of text, Int64; null stays null."""
    # A shift by division: Polars has no shift of integers.
    return (words.nchash.xxhash64() // 4).cast(pl.Int64)  # type: ignore[attr-defined]


def number(column: pl.Expr, dtype: PolarsDataType) -> pl.Expr:
    """Return values as Float64: true is 1, a time is its seconds since 1970. NaN becomes null, and
    so does text that is no number."""
    kind = dtype.base_type()
    if kind in (pl.String, pl.Categorical, pl.Enum):
        words = column.cast(pl.String).str.strip_chars()
        lower = words.str.to_lowercase()
        value = words.cast(pl.Float64, strict=False)
        value = pl.when(lower == "true").then(1.0).when(lower == "false").then(0.0).otherwise(value)
    elif kind == pl.Date:
        value = column.cast(pl.Int32).cast(pl.Float64) * 86_400
    elif kind == pl.Datetime:
        value = column.dt.epoch("us").cast(pl.Float64) / 1e6
    elif kind in (pl.Duration, pl.Time):
        value = column.cast(pl.Int64).cast(pl.Float64) / 1e9
    else:
        value = column.cast(pl.Float64)
    return value.fill_nan(None)


def time(column: pl.Expr, dtype: PolarsDataType) -> pl.Expr:
    """Return values as Datetime in microseconds, UTC.

    Whole numbers are days (20260501), or seconds, milli-, micro- or nanoseconds since 1970, by
    their size. Text is ISO 8601, in UTC unless it has an offset. Null if it is no time.
    """
    kind = dtype.base_type()
    if kind == pl.Datetime:
        if getattr(dtype, "time_zone", None):
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column.cast(pl.Datetime("us"))
    if kind == pl.Date:
        return column.cast(pl.Datetime("us"))
    if kind in (pl.String, pl.Categorical, pl.Enum):
        words = column.cast(pl.String).str.strip_chars().str.strip_suffix("Z")
        # One function, because Polars evaluates repeated parts of an expression repeatedly.
        return words.map_batches(_time_of_text, return_dtype=pl.Datetime("us"), is_elementwise=True)
    return _time_of_number(number(column, dtype))


def _time_of_text(words: pl.Series) -> pl.Series:
    """Try each format on the values that have none so far, but not on long numbers."""
    rest = words.to_frame("word").select(
        pl.when(~pl.col("word").str.contains(r"^[0-9]{9,}$")).then("word")
    )["word"]
    found = pl.Series([None], dtype=pl.Datetime("us")).new_from_index(0, len(words))
    for form in (*_FORMATS, *_WITH_ZONE):
        if found.null_count() == rest.null_count():
            break
        parsed = rest.str.to_datetime(form, strict=False, time_unit="us")
        if form in _WITH_ZONE:
            parsed = parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        found = found.zip_with(found.is_not_null(), parsed)
    frame = pl.DataFrame({"written": found, "number": words.cast(pl.Float64, strict=False)})
    return frame.select(pl.coalesce("written", _time_of_number(pl.col("number")))).to_series()


def _time_of_number(value: pl.Expr) -> pl.Expr:
    whole = value.round()
    is_day = (whole >= 19_000_101) & (whole <= 21_001_231)
    day = (
        pl.when(is_day)
        .then(whole.cast(pl.Int64, strict=False).cast(pl.String))
        .str.to_datetime("%Y%m%d", strict=False, time_unit="us")
    )
    size = value.abs()
    microseconds = (
        pl.when(size < 1e11)
        .then(value * 1e6)
        .when(size < 1e14)
        .then(value * 1e3)
        .when(size < 1e17)
        .then(value)
        .when(size < 1e19)
        .then(value / 1e3)
    )
    return pl.coalesce(
        day, microseconds.round().cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
    )


def is_missing(column: pl.Expr, dtype: PolarsDataType) -> pl.Expr:
    """Return whether a value is missing: null, NaN or empty text."""
    if dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(False)
    if dtype.base_type() in (pl.String, pl.Categorical, pl.Enum):
        return column.is_null() | (column.cast(pl.String).str.strip_chars() == "").fill_null(False)
    return column.is_null()
