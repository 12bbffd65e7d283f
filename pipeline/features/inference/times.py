"""Finds the column of times, and where to split by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipeline.features.inference.names import is_time, words
from pipeline.features.inference.profile import Profile

_UNITS = {"s": 10**0, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST, _LAST = 631_152_000, 4_102_444_800  # 1990 and 2100, as seconds since 1970
_BEHIND = frozenset(
    [
        "birth",
        "birthday",
        "born",
        "dob",
        "register",
        "registered",
        "signup",
        "joined",
        "upload",
        "due",
    ]
)
_VAL, _TEST = 0.8, 0.9
_SHARES = (0.03, 0.3)
"""Smallest and largest share of rows of val and test, where positions are rounded."""
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Clock:
    """A column of times."""

    column: str
    micros: pl.Series
    """Microseconds since 1970, or the numbers themselves if the form is 'number'."""
    form: str
    """'time'; 's', 'ms', 'us' or 'ns' since 1970; 'day' (20260531); 'number'."""

    @property
    def is_absolute(self) -> bool:
        """Whether hours and weekdays are known."""
        return self.form != "number"

    @property
    def has_hours(self) -> bool:
        return self.is_absolute and bool((self.micros % _DAY != 0).any())


@dataclass(frozen=True)
class TimeSplit:
    """The first times of val and test, as written in the configuration."""

    val_from: Any
    test_from: Any
    shares: tuple[float, float, float]
    """Shares of the sample's rows in train, val and test."""


def clock_of(column: Profile) -> Clock | None:
    """Return a column as times; None if it holds none."""
    if column.kind == "time":
        micros = column.values.dt.cast_time_unit("us").to_physical()
        return Clock(column.name, micros, "time")
    if column.kind not in ("whole", "number") or column.low is None:
        return None
    for form, unit in _UNITS.items():
        if _FIRST * unit <= column.low and column.high <= _LAST * unit:
            values = column.values.cast(pl.Float64 if form == "s" else pl.Int64)
            micros = (values * 1_000_000).cast(pl.Int64) if form == "s" else _micros(values, form)
            return Clock(column.name, micros, form)
    if column.kind == "whole" and is_time(column.name):
        days = column.values.cast(pl.String).str.to_date("%Y%m%d", strict=False)
        if 19_000_000 < column.low <= column.high < 21_000_000 and (
            days.null_count() == column.missing
        ):
            return Clock(column.name, days.cast(pl.Datetime("us")).to_physical(), "day")
    return None


def _micros(values: pl.Series, form: str) -> pl.Series:
    if form == "ms":
        return values * 1000
    return values // 1000 if form == "ns" else values


def number_clock(column: Profile) -> Clock | None:
    """Return a column of numbers without a known origin as times: only their order is known."""
    if column.kind not in ("whole", "number"):
        return None
    return Clock(column.name, column.values, "number")


def find_clock(columns: Mapping[str, Profile]) -> Clock | None:
    """Return the most likely time of the rows; None if no column has times.

    Numbers count if their name says so. Preferred: finer times, then times with more values.
    """
    found = []
    for column in columns.values():
        clock = clock_of(column)
        if clock is None or column.missing or column.distinct < 5:
            continue
        if clock.form != "time" and not is_time(column.name):
            continue
        if not _BEHIND.isdisjoint(words(column.name)) or "last" in words(column.name):
            continue
        found.append((clock.has_hours, clock.form != "day", column.distinct, clock))
    return max(found, key=lambda one: one[:3])[3] if found else None


def time_split(clock: Clock) -> TimeSplit | None:
    """Split at the 80% and 90% quantiles, at whole days or else hours where that is possible.

    None if there are too few distinct times.
    """
    values = clock.micros.drop_nulls().sort()
    if values.n_unique() < 3:
        return None
    steps: list[int] = [_DAY, _DAY // 24, 1_000_000] if clock.is_absolute else []
    wanted = [values[int(len(values) * share)] for share in (_VAL, _TEST)]
    for step in steps:
        bounds = [_round(value, step) for value in wanted]
        shares = _shares(values, bounds)
        if all(_SHARES[0] <= share <= _SHARES[1] for share in shares[1:]):
            return _split(bounds, clock.form, shares)
    bounds = _distinct_bounds(values, wanted)
    return _split(bounds, clock.form, _shares(values, bounds))


def _split(bounds: list[Any], form: str, shares: tuple[float, float, float]) -> TimeSplit:
    val_from, test_from = (_written(bound, form) for bound in bounds)
    return TimeSplit(val_from, test_from, shares)


def _distinct_bounds(values: pl.Series, wanted: list[Any]) -> list[Any]:
    """Bounds at values of the column, so that every split has rows."""
    unique = values.unique().sort()
    test = min(max(int(unique.search_sorted(wanted[1])), 2), len(unique) - 1)
    val = min(max(int(unique.search_sorted(wanted[0])), 1), test - 1)
    return [unique[val], unique[test]]


def _round(value: int, step: int) -> int:
    return (value + step // 2) // step * step


def _shares(values: pl.Series, bounds: list[Any]) -> tuple[float, float, float]:
    first, second = (int(values.search_sorted(bound)) / len(values) for bound in bounds)
    return first, second - first, 1 - second


def _written(bound: Any, form: str) -> Any:
    if form == "number":
        return bound if abs(bound) < 2**31 else float(bound)  # whole numbers of YAML are int32
    moment = datetime(1970, 1, 1) + timedelta(microseconds=int(bound))
    if not (moment.hour or moment.minute or moment.second or moment.microsecond):
        return moment.strftime("%Y-%m-%d")
    return moment.isoformat(" ")
