"""Labels of a table: which columns they are, and the rule that makes them 0 and 1."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.features.inference.flags import too_large
from pipeline.features.inference.names import is_outcome, is_target, legal_name, words
from pipeline.features.inference.profile import Profile
from pipeline.io.errors import UserError, nearest

_POSITIVE = frozenset(["true", "yes", "y", "t", "positive", "pos"])


@dataclass(frozen=True)
class Label:
    """A proposed label."""

    name: str
    column: str
    rule: Mapping[str, Any]
    """`at_least` or `equals`; empty for a column of 0 and 1."""
    values: pl.Series
    """0, 1 or null per row of the sample."""
    why: str

    @property
    def rate(self) -> float:
        mean = self.values.mean()
        return float(mean) if isinstance(mean, float) else 0.0


def find_labels(columns: Mapping[str, Profile], excluded: Collection[str]) -> list[str]:
    """Return the columns that are labels by name and values: click, is_like, target, y.

    A target may have other values than two, and other columns of 0 and 1 may be called is_..., if
    there is nothing clearer.
    """
    kinds = ("bool", "whole", "number", "text")
    usable = {
        name: column
        for name, column in columns.items()
        if name not in excluded and column.distinct >= 2 and column.kind in kinds
    }
    binary = [name for name, column in usable.items() if column.distinct == 2]
    return (
        [name for name in binary if is_outcome(name)]
        or [name for name in usable if is_target(name)]
        or [name for name in binary if words(name)[:1] == ["is"] and columns[name].is_binary]
    )


def propose_label(column: Profile, taken: Collection[str]) -> Label:
    """Return the label that a column is. Raises UserError for a column with one value."""
    name = legal_name(column.name, taken, label=True)
    rule, values, why = _rule(column)
    rates = values.drop_nulls()
    rate = rates.mean()
    if column.missing:
        why += f"; {share(column.missing, column.rows)} missing, left out of loss and metrics"
    text = f"{percent(float(rate) if isinstance(rate, float) else 0)} are 1"
    return Label(name, column.name, rule, values, f"{text}{why}")


def _rule(column: Profile) -> tuple[dict[str, Any], pl.Series, str]:
    if column.kind in ("list", "time", "other"):
        raise UserError(
            f"--labels: {column.name!r} has {'lists' if column.kind == 'list' else column.kind}s"
            "; name a column of 0 and 1, of numbers or of text".replace("listss", "lists")
        )
    if column.distinct < 2:
        only = "no values" if not column.distinct else f"one value, {column.present[0]!r},"
        raise UserError(
            f"--labels: {column.name!r} has {only} in {column.rows:,} sampled rows; name a column "
            "with two or more, or raise --rows"
        )
    if too_large(column):
        raise UserError(
            f"--labels: {column.name!r} has infinite values, or values beyond float32; write them "
            "as missing"
        )
    if column.is_binary and not (column.kind == "bool" and column.in_text):
        return {}, column.values.cast(pl.Int8), ""
    by_count = column.raw.alias("").drop_nulls().value_counts(sort=True)[""]
    if column.distinct == 2 and column.kind in ("text", "bool"):
        return _two_texts(column, [str(one) for one in by_count])
    if column.kind == "text":
        chosen = by_count[0]
        return (
            {"equals": chosen},
            (column.values == chosen).cast(pl.Int8),
            f"; the most frequent of {column.distinct} values; also: in: [VALUE, ...]",
        )
    return _at_least(column)


def _two_texts(column: Profile, by_count: list[str]) -> tuple[dict[str, Any], pl.Series, str]:
    named = [text for text in by_count if text.lower() in _POSITIVE]
    chosen = named[0] if len(named) == 1 else by_count[-1]
    other = next((text for text in by_count if text != chosen), chosen)
    why = "" if len(named) == 1 else "; the rarer value"
    return (
        {"equals": chosen},
        (column.raw == chosen).cast(pl.Int8),
        f"{why}; 0 for {other!r}",
    )


def _at_least(column: Profile) -> tuple[dict[str, Any], pl.Series, str]:
    """At the median, or the next value if the median is the smallest: both classes need rows."""
    values = column.present.sort()
    limit = values[len(values) // 2]
    why = "the median"
    if column.distinct == 2:
        limit, why = column.high, "the larger of two values"
    elif limit == column.low:
        limit = values.filter(values > limit)[0]
        why = f"over the median, {column.low:g}"
    limit = float(limit) if column.kind == "number" else int(limit)
    return (
        {"at_least": limit},
        (column.values >= limit).cast(pl.Int8),
        f"; {why}; set the limit that you mean",
    )


def check_columns(option: str, names: Collection[str], columns: Mapping[str, Profile]) -> None:
    """Check that the table has the columns. Raises UserError."""
    for name in names:
        if name not in columns:
            raise UserError(
                f"{option}: no column {name!r} in the table; {nearest(name, list(columns))}"
            )


def percent(value: float) -> str:
    """Format a share: 12%, .3%."""
    hundred = 100 * value
    return f"{hundred:.0f}%" if hundred >= 10 else f"{hundred:.2g}%"


def share(count: int, rows: int) -> str:
    """Format a count of rows as a share."""
    return percent(count / rows if rows else 0)
