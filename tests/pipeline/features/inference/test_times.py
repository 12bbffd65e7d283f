"""The time of the rows is found, and val and test come after train in sensible shares."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.inference.profile import profile
from pipeline.features.inference.times import clock_of, find_clock, number_clock, time_split

_START = datetime(2026, 4, 1)


def _moments(count: int, step: timedelta) -> list[datetime]:
    return [_START + index * step for index in range(count)]


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6)])
def test_units_since_1970_are_found(unit: str, factor: int) -> None:
    values = pl.Series("ts", _moments(100, timedelta(hours=6)))
    whole = values.dt.epoch("us") // (10**6 // factor)
    clock = clock_of(profile(whole))
    assert clock is not None
    assert clock.form == unit
    assert clock.micros.to_list() == values.dt.epoch("us").to_list()
    split = time_split(clock)
    assert split is not None
    assert (split.val_from, split.test_from) == ("2026-04-21", "2026-04-24")


def test_days_are_preferred_to_the_second() -> None:
    clock = clock_of(profile(pl.Series("ts", _moments(400, timedelta(hours=2)))))
    assert clock is not None
    split = time_split(clock)
    assert split is not None
    assert (split.val_from, split.test_from) == ("2026-04-28", "2026-05-01")


def test_days_as_whole_numbers() -> None:
    days = pl.Series("date", _moments(60, timedelta(days=1))).dt.strftime("%Y%m%d").cast(pl.Int64)
    clock = clock_of(profile(days))
    assert clock is not None
    assert (clock.form, clock.has_hours, clock.is_absolute) == ("day", False, True)
    split = time_split(clock)
    assert split is not None
    assert (split.val_from, split.test_from) == ("2026-05-19", "2026-05-25")


def test_times_with_a_zone_are_in_utc() -> None:
    here = pl.Series("t", _moments(9, timedelta(hours=1))).dt.replace_time_zone("Asia/Tokyo")
    clock = clock_of(profile(here))
    assert clock is not None
    assert clock.micros.to_list() == here.dt.epoch("us").to_list()


@given(st.lists(st.integers(0, 10**6), min_size=3, unique=True))
def test_every_split_has_rows(values: list[int]) -> None:
    clock = number_clock(profile(pl.Series("step", values)))
    assert clock is not None
    split = time_split(clock)
    assert split is not None
    assert min(values) < split.val_from < split.test_from <= max(values)


@given(st.integers(20, 500), st.integers(1, 10**8), st.randoms())
def test_shares_are_sensible(count: int, step: int, random: object) -> None:
    clock = clock_of(profile(pl.Series("t", _moments(count, timedelta(milliseconds=step)))))
    assert clock is not None
    split = time_split(clock)
    assert split is not None
    assert split.shares[0] >= 0.4
    assert min(split.shares[1:]) > 0
    assert str(split.val_from) < str(split.test_from)


def test_the_time_of_a_row_is_neither_a_birthday_nor_an_amount() -> None:
    moments = _moments(50, timedelta(hours=7))
    columns = {
        one.name: profile(one)
        for one in [
            pl.Series("birth_date", moments).dt.date(),
            pl.Series("price", range(1_600_000_000, 1_600_000_050)),
            pl.Series("date", moments).dt.date(),
            pl.Series("shown_at", moments),
        ]
    }
    clock = find_clock(columns)
    assert clock is not None
    assert clock.column == "shown_at"
    del columns["shown_at"], columns["date"]
    assert find_clock(columns) is None
