"""Finds the type of a column of text: whole numbers, decimals, booleans, times, lists."""

from __future__ import annotations

import json

import polars as pl

from pipeline.features.values import time

_WHOLE = r"^[+-]?(0|[1-9]\d{0,17})$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_LEADING_ZERO = r"^[+-]?0\d"
_BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_TIME = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?$"
_SLASHES = r"^\d{4}/\d{2}/\d{2}( \d{2}:\d{2}:\d{2})?$"
_TOKEN = r"^[^\s\[\](){}<>\"'][^\[\](){}<>\"']{0,63}$"
SEPARATORS = ("|", ";", ",", " ")
_HEAD = 2_000
"""Rows of lists that are looked at."""


def typed(text: pl.Series) -> pl.Series:
    """Return the column as Int64, Float64, Boolean or Datetime in UTC if all values are, or `text`.

    Numbers with leading zeros ('007') stay text: they are codes.
    """
    values = text.drop_nulls()
    if values.is_empty():
        return text
    if values.str.contains(_NUMBER).all() and not values.str.contains(_LEADING_ZERO).any():
        if values.str.contains(_WHOLE).all():
            return text.cast(pl.Int64)
        return text.cast(pl.Float64)
    distinct = values.unique()
    if len(distinct) <= 4:
        lower = set(distinct.str.to_lowercase())
        if any(lower <= pair for pair in _BOOLEANS):
            return text.str.to_lowercase().is_in(["true", "yes", "t", "y"])
    return _times(text, values)


def _times(text: pl.Series, values: pl.Series) -> pl.Series:
    if not any(values.str.contains(form).all() for form in (_DATE, _TIME, _SLASHES)):
        return text
    times = pl.select(time(pl.lit(text), text.dtype)).to_series()  # as prepare reads them
    return times if times.null_count() == text.null_count() else text  # such as 2024-13-45


def is_json_lists(text: pl.Series) -> bool:
    """Whether all values are JSON lists of plain values, such as '[1, 2]'."""
    values = text.drop_nulls()
    if values.is_empty() or not values.str.contains(r"^\s*\[.*\]\s*$").all():
        return False
    for value in values.head(_HEAD):
        try:
            found = json.loads(value)
        except ValueError:
            return False
        if any(isinstance(one, (list, dict)) for one in found):
            return False
    return True


def json_lists(text: pl.Series) -> pl.Series:
    """Return JSON lists as lists of text."""
    body = text.str.strip_chars().str.strip_chars("[]").str.strip_chars()
    lists = pl.when(body == "").then(pl.lit([], dtype=pl.List(pl.String)))
    parts = body.str.split(",").list.eval(pl.element().str.strip_chars().str.strip_chars('"'))
    return pl.select(lists.otherwise(parts)).to_series().alias(text.name)


def separator_of(text: pl.Series) -> str | None:
    """Return the separator of lists in text, such as 'a|b|c'; None if the values are no lists.

    Values are lists if they consist of short parts that recur in other combinations.
    """
    values = text.drop_nulls()
    for separator in SEPARATORS:
        several = values.filter(values.str.contains(separator, literal=True))
        if several.is_empty() or len(several) < len(values) * 0.02:
            continue
        parts = several.unique().str.split(separator).explode()
        if not parts.str.contains(_TOKEN).all():
            continue
        counts = parts.len() / parts.n_unique()
        single = values.filter(~values.str.contains(separator, literal=True)).unique()
        alone = float(parts.unique().is_in(single.implode()).mean())  # type: ignore[arg-type]
        many = separator in "|;" and several.n_unique() > 1
        recurring = counts >= (1.5 if many else 2) or alone > 0.5
        if separator == "," and alone < 0.8 and has_decimal_commas(several):
            continue
        if recurring and _not_a_sentence(several, separator):
            return separator
    return None


def _not_a_sentence(values: pl.Series, separator: str) -> bool:
    """Parts with blanks and many commas are prose; so are many blanks."""
    if separator in "|;":
        return True
    if separator == ",":
        return bool(values.str.count_matches(" ").sum() <= values.str.count_matches(",").sum())
    return bool(values.str.contains(r"^[\w-]*\d[\w-]*( [\w-]*\d[\w-]*)*$").all())


def has_decimal_commas(text: pl.Series) -> bool:
    """Whether the values are numbers written like '1,5'."""
    values = text.drop_nulls()
    return not values.is_empty() and bool(values.str.contains(r"^[+-]?\d+,\d+$").all())
