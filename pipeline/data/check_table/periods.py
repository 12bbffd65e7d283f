"""Label rates over time: by hour at first, then by the shortest period that gives few enough."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

NUM_PARTS = 20
"""Parts of the table with equally many rows, if it has no times."""
_MOST = 40
_HOURS = (1, 6, 24, 7 * 24, 28 * 24, 91 * 24, 364 * 24, 3640 * 24)
_PERIOD, _ROWS = "period", "row.rows"


class Periods:
    """Rows, known labels and positives by task, for each part of the table and each hour."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._hours: list[pl.DataFrame] = []

    def add(self, labels: pl.DataFrame, parts: pl.Series, times: pl.Series | None) -> None:
        """Count rows: labels Float32 (0, 1, null), the part of the table, times (Datetime)."""
        self._parts.append(_count(labels, parts))
        if times is not None:
            hours = times.dt.epoch("us") // 3_600_000_000
            known = times.is_not_null()
            self._hours.append(_count(labels.filter(known), hours.filter(known)))

    def merge(self, other: Periods) -> None:
        """Add the counts of other rows."""
        self._parts = [_sum([*self._parts, *other._parts])]
        if other._hours:
            self._hours = [_sum([*self._hours, *other._hours])]

    def table(self) -> tuple[str, pl.DataFrame]:
        """Return the kind of the periods ('day', 'part of the rows'), and the counts.

        Columns: start, rows, and NAME.known and NAME.positives for each task.
        """
        if self._hours:
            hours = _sum(self._hours)
            step = _step(hours[_PERIOD].to_numpy())
            found = _regroup(hours, step)
            if len(found) > 1:
                start = pl.from_epoch(pl.col(_PERIOD) * 3600, time_unit="s")
                form = "%Y-%m-%d %H:%M" if step < 24 else "%Y-%m-%d"
                return _named(step), _renamed(found, start.dt.to_string(form))
        share = pl.col(_PERIOD) * 100 // NUM_PARTS
        return "part of the rows", _renamed(_sum(self._parts), pl.format("{}%", share))


def _count(labels: pl.DataFrame, periods: pl.Series) -> pl.DataFrame:
    counts = [pl.len().cast(pl.Int64).alias(_ROWS)]
    for name in labels.columns:
        counts.append(pl.col(name).count().cast(pl.Int64).alias(f"{name}.known"))
        counts.append((pl.col(name) == 1).sum().cast(pl.Int64).alias(f"{name}.positives"))
    frame = labels.with_columns(periods.cast(pl.Int64).alias(_PERIOD))
    return frame.group_by(_PERIOD).agg(counts)


def _sum(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).group_by(_PERIOD).agg(pl.all().sum()).sort(_PERIOD)


def _step(hours: NDArray[np.int64]) -> int:
    """Return the length in hours that leaves at most `_MOST` periods with rows."""
    fits = (step for step in _HOURS if len(np.unique(hours // step)) <= _MOST)
    return next(fits, _HOURS[-1])


def _regroup(hours: pl.DataFrame, step: int) -> pl.DataFrame:
    return _sum([hours.with_columns(pl.col(_PERIOD) // step * step)])


def _named(step: int) -> str:
    if step <= 24:
        return {1: "hour", 24: "day"}.get(step, f"{step} hours")
    return f"{step // 24} days"


def _renamed(counts: pl.DataFrame, start: pl.Expr) -> pl.DataFrame:
    return counts.select(start.alias("start"), pl.exclude(_PERIOD)).rename({_ROWS: "rows"})
