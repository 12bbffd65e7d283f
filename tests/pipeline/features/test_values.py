from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipeline.features.values import hashed, is_missing, number, text, time

NAN = float("nan")


def of(function: Any, values: list[Any], dtype: Any) -> list[Any]:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    found: list[Any] = frame.select(function(pl.col("x"), frame.schema["x"])).to_series().to_list()
    return found


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([12, None, -3], pl.Int32, ["12", None, "-3"]),
        ([2**63 - 1], pl.Int64, [str(2**63 - 1)]),
        ([2**64 - 1], pl.UInt64, [str(2**64 - 1)]),
        ([12.0, None, NAN, 2.5, -0.0], pl.Float64, ["12", None, None, "2.5", "0"]),
        ([12.0, 0.1], pl.Float32, ["12", "0.1"]),
        ([True, False, None], pl.Boolean, ["true", "false", None]),
        ([" 12 ", "", "  ", "é", None], pl.String, ["12", None, None, "é", None]),
        (["a", None, "b"], pl.Categorical, ["a", None, "b"]),
        (
            [Decimal("12.50"), Decimal("12.00"), Decimal("0.00")],
            pl.Decimal(10, 2),
            ["12.5", "12", "0"],
        ),
        ([Decimal("1200")], pl.Decimal(10, 0), ["1200"]),
        ([date(2026, 5, 1)], pl.Date, ["2026-05-01"]),
        ([None], pl.Null, [None]),
    ],
)
def test_text_depends_on_the_value_not_its_type(
    values: list[Any], dtype: Any, words: list[str | None]
) -> None:
    assert of(text, values, dtype) == words
    assert [one is None for one in words] == of(is_missing, values, dtype)


def test_times_as_text_do_not_depend_on_unit_and_zone() -> None:
    moment = datetime(2026, 5, 1, 12, 30)
    words = {of(text, [moment], pl.Datetime(unit))[0] for unit in ("ms", "us", "ns")} | set(
        of(text, [moment.replace(tzinfo=UTC)], pl.Datetime("us", "Asia/Shanghai"))
    )
    assert words == {"2026-05-01T12:30:00"}


@pytest.mark.parametrize(
    ("values", "dtype", "numbers"),
    [
        ([12, None], pl.UInt8, [12.0, None]),
        (
            [" 1.5", "1e3", "x", "", None, "TRUE", "false"],
            pl.String,
            [1.5, 1e3, None, None, None, 1, 0],
        ),
        ([NAN, 2.5], pl.Float32, [None, 2.5]),
        ([True, False], pl.Boolean, [1.0, 0.0]),
        ([Decimal("12.50")], pl.Decimal(10, 2), [12.5]),
        ([date(1970, 1, 2)], pl.Date, [86_400.0]),
        ([datetime(1970, 1, 1, 0, 0, 1, 500_000)], pl.Datetime("ns"), [1.5]),
        (["1.5"], pl.Categorical, [1.5]),
    ],
)
def test_numbers(values: list[Any], dtype: Any, numbers: list[float | None]) -> None:
    assert of(number, values, dtype) == numbers


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (
            ["2026-05-01 12:30:00", "2026-05-01T12:30:00Z", "2026-05-01 12:30", "1777638600"],
            pl.String,
        ),
        (
            [1_777_638_600, 1_777_638_600_000, 1_777_638_600_000_000, 1_777_638_600_000_000_000],
            pl.Int64,
        ),
        (["2026-05-01T14:30:00+02:00", "2026-05-01 05:30:00.000-07:00"], pl.String),
        (["2026-05-01T21:30:00+0900", "2026-05-01 12:30:00+00", "2026-05-01T10:30-02"], pl.String),
        ([datetime(2026, 5, 1, 12, 30)], pl.Datetime("ms")),
        ([datetime(2026, 5, 1, 12, 30, tzinfo=UTC)], pl.Datetime("us", "Europe/Berlin")),
    ],
)
def test_times(values: list[Any], dtype: Any) -> None:
    assert of(time, values, dtype) == [datetime(2026, 5, 1, 12, 30)] * len(values)


def test_days_as_numbers_and_no_times() -> None:
    assert of(time, [20260501, None, 20261399], pl.Int64)[:2] == [datetime(2026, 5, 1), None]
    assert of(time, ["2026-05-01", "20260501", "soon", ""], pl.String) == [
        datetime(2026, 5, 1),
        datetime(2026, 5, 1),
        None,
        None,
    ]
    assert of(time, [date(2026, 5, 1)], pl.Date) == [datetime(2026, 5, 1)]


def test_the_hash_is_part_of_the_format() -> None:
    frame = pl.DataFrame({"x": ["a", "", "é", None]})
    # xxHash64 of the UTF-8 bytes, without its last two bits.
    wanted = [0xD24EC4F1A98C6E5B >> 2, 0xEF46DB3751D8E999 >> 2]
    found = frame.select(hashed(pl.col("x"))).to_series().to_list()
    assert found[:2] == wanted
    assert found[3] is None
    assert 0 <= found[2] < 2**62
