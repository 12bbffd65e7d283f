"""Label rates by the shortest period that is readable, however rows come."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.data.check_table.periods import Periods

_START = datetime(2026, 5, 1)


def _periods(step: timedelta, rows: int, parts: int = 1) -> Periods:
    total = Periods()
    for part in range(parts):
        numbers = list(range(part, rows, parts))
        one = Periods()
        labels = pl.DataFrame(
            {"label.a": [None if n % 10 == 9 else float(n % 2) for n in numbers]},
            schema={"label.a": pl.Float32},
        )
        times = pl.Series([_START + n * step for n in numbers], dtype=pl.Datetime("us"))
        one.add(labels, pl.Series([n * 20 // rows for n in numbers]), times)
        total.merge(one)
    return total


@pytest.mark.parametrize(
    ("step", "rows", "kind", "start"),
    [
        (timedelta(minutes=10), 100, "hour", "2026-05-01 00:00"),
        (timedelta(hours=1), 100, "6 hours", "2026-05-01 00:00"),
        (timedelta(hours=10), 90, "day", "2026-05-01"),
        (timedelta(days=1), 90, "7 days", "2026-04-30"),
        (timedelta(seconds=1), 100, "part of the rows", "0%"),
    ],
)
def test_period(step: timedelta, rows: int, kind: str, start: str) -> None:
    found, counts = _periods(step, rows).table()
    assert (found, counts["start"][0]) == (kind, start)
    assert counts["rows"].sum() == rows
    assert counts["label.a.known"].sum() == rows * 9 // 10
    assert counts["label.a.positives"].sum() == rows * 4 // 10
    assert 1 < len(counts) <= 40
    parts = _periods(step, rows, 3).table()
    assert parts[0] == found
    assert_frame_equal(parts[1], counts)


def test_one_wrong_time_does_not_hide_the_others() -> None:
    total = _periods(timedelta(hours=10), 60)
    labels = pl.DataFrame({"label.a": [1.0]}, schema={"label.a": pl.Float32})
    total.add(labels, pl.Series([0]), pl.Series([datetime(1970, 1, 1)]))
    kind, counts = total.table()
    assert kind == "day"
    assert counts["start"][0] == "1970-01-01"
