"""Samples depend on the numbers of rows alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.check_table.row_sample import RowSample


def _sample(rows: int, cuts: list[int], limit: int) -> RowSample:
    total = RowSample(limit)
    ends = [0, *sorted(cut % (rows + 1) for cut in cuts), rows]
    for start, stop in pairwise(ends):
        numbers = np.arange(start, stop, dtype=np.int64)
        part = RowSample(limit)
        part.add(pl.DataFrame({"value": numbers}), (numbers % 7 == 0).astype(np.uint8), numbers)
        total.merge(part)
    return total


@given(
    rows=st.integers(0, 300),
    cuts=st.lists(st.integers(0, 300), max_size=5),
    limit=st.integers(1, 60),
)
def test_any_cut_gives_the_same_rows(rows: int, cuts: list[int], limit: int) -> None:
    whole, parts = _sample(rows, [], limit), _sample(rows, cuts, limit)
    for split in range(3):
        found = sorted(parts.of(split)["value"])
        assert found == sorted(whole.of(split)["value"])
        assert len(found) <= limit
        assert all((value % 7 == 0) == split for value in found)


def test_all_rows_are_kept_up_to_the_limit() -> None:
    assert sorted(_sample(100, [40], 100).of(0)["value"]) == [n for n in range(100) if n % 7]


def test_a_sample_is_spread_over_the_rows() -> None:
    values = _sample(100_000, [30_000], 5_000).of(0)["value"].to_numpy()
    assert 2_000 < len(values) <= 5_000
    parts = np.histogram(values, bins=10, range=(0, 100_000))[0] / len(values)
    assert np.abs(parts - 0.1).max() < 0.02
