"""Counts do not depend on the order of values; beyond the limit they are good estimates."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.data.check_table.hash_counts import HASH, HashCounts
from pipeline.data.schema import SPLITS
from pipeline.features.vocabulary import hash_integers


def _count(values: list[int], splits: list[int], cuts: list[int], limit: int) -> HashCounts:
    total = HashCounts(limit)
    ends = [0, *sorted(cut % (len(values) + 1) for cut in cuts), len(values)]
    for start, stop in pairwise(ends):
        part = HashCounts(limit)
        hashes = hash_integers(np.array(values[start:stop], dtype=np.int64))
        part.add(pl.Series(hashes), np.array(splits[start:stop], dtype=np.uint8))
        total.merge(part)
    return total


_ROWS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), max_size=150)


@given(rows=_ROWS, cuts=st.lists(st.integers(0, 200), max_size=5), limit=st.integers(1, 70))
def test_any_cut_gives_the_same_counts(
    rows: list[tuple[int, int]], cuts: list[int], limit: int
) -> None:
    values, splits = [value for value, _ in rows], [split for _, split in rows]
    whole = _count(values, splits, [], limit)
    parts = _count(values[::-1], splits[::-1], cuts, limit)
    assert_frame_equal(whole.frame, parts.frame)
    assert whole.scale == parts.scale
    assert len(whole.frame) <= limit


@given(rows=_ROWS)
def test_counts_are_exact_up_to_the_limit(rows: list[tuple[int, int]]) -> None:
    found = _count([value for value, _ in rows], [split for _, split in rows], [3], 61)
    assert found.scale == 1
    frame = found.frame
    hashes = {int(hash_integers(np.array([value]))[0]): value for value in range(61)}
    counts = Counter(rows)
    assert len(frame) == len({value for value, _ in rows})
    for row in frame.iter_rows(named=True):
        wanted = [counts[hashes[row[HASH]], split] for split in range(3)]
        assert [row[split] for split in SPLITS] == wanted


def test_estimates_beyond_the_limit() -> None:
    values = list(range(40_000)) * 2
    found = _count(values, [0] * len(values), [10_000, 50_000], 5_000)
    assert found.scale > 1
    distinct = len(found.frame) * found.scale
    assert abs(distinct / 40_000 - 1) < 0.05
    assert set(found.frame["train"]) == {2}
