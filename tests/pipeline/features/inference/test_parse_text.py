"""Text is read as the type that all of its values have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.inference.profile import profile


@given(st.lists(st.integers(-(10**15), 10**15) | st.none(), min_size=1))
def test_whole_numbers(values: list[int | None]) -> None:
    text = pl.Series("x", [None if one is None else str(one) for one in values], pl.String)
    found = profile(text)
    assert found.kind == ("whole" if found.filled else "empty")
    assert found.values.to_list() == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), min_size=1))
def test_decimals(values: list[float | None]) -> None:
    text = pl.Series("x", [None if one is None else repr(one) for one in values], pl.String)
    found = profile(text)
    assert found.kind in ("number", "whole", "empty")
    if found.kind != "empty":
        assert found.values.cast(pl.Float64).to_list() == values


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["007", "123"], "text"),  # codes
        (["1.0", "2.0", None], "whole"),
        (["1e3", "-.5"], "number"),
        (["inf", "1"], "text"),
        (["True", "False", None], "bool"),
        (["yes", "no"], "bool"),
        (["2026-05-01", "2026-05-02"], "time"),
        (["2026-05-01 12:00", "2026-05-01T12:00:30.5Z"], "time"),
        (["2026/05/01", "2026/05/02 12:00:00"], "time"),
        (["2026-05-01T12:00:00+02:00", "2026-05-01 12:00:00.5-0330", None], "time"),
        (["2026-05-01 12:00:00+00", "2026-05-01 12:00+02:00"], "time"),
        (["2026-13-45"], "text"),
        (["[1, 2]", "[]"], "list"),
        (['["a", "b"]', "[]"], "list"),
        (["[0,100)", "[100,1k)"], "text"),
        (["a|b", "b|c", "a", "c|a"], "list"),
        (["1,5", "2,75", "1,25"], "text"),
        (["20,43", "20", "43", "43,20", "9", "9,20,43"], "list"),
        (["Braund, Mr. Owen", "Heikkinen, Miss Laina"], "text"),
        (["good morning", "good night"], "text"),
    ],
)
def test_kinds(values: list[str | None], kind: str) -> None:
    assert profile(pl.Series("x", values)).kind == kind


def test_times_with_and_without_seconds() -> None:
    text = pl.Series("x", ["2026-05-01 12:00", "2026-05-01T12:00:00.5", "2026-05-01T00:30Z"])
    assert profile(text).values.to_list() == [
        datetime(2026, 5, 1, 12), datetime(2026, 5, 1, 12, 0, 0, 500_000),
        datetime(2026, 5, 1, 0, 30),
    ]  # fmt: skip


_ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(2200, 1, 1)


@given(
    st.lists(st.datetimes(_EARLIEST, _LATEST, timezones=_ZONES), min_size=1, max_size=9),
    st.booleans(),
)
def test_times_with_an_offset_are_read_in_utc(moments: list[datetime], blank: bool) -> None:
    words = [one.isoformat(" " if blank else "T") for one in moments]
    wanted = [one.astimezone(UTC).replace(tzinfo=None) for one in moments]
    assert profile(pl.Series("x", words, pl.String)).values.to_list() == wanted


@given(st.lists(st.text()))
def test_any_text_has_a_profile(values: list[str]) -> None:
    found = profile(pl.Series("x", values, pl.String))
    assert found.rows == len(values)
    assert found.distinct >= 0


def test_whole_floats_with_nan_are_whole_numbers() -> None:
    found = profile(pl.Series("x", [1.0, float("nan"), 3.0]))
    assert (found.kind, found.missing, found.values.to_list()) == ("whole", 1, [1, None, 3])
