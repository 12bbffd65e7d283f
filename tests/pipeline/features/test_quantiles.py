from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.features.quantiles import (
    HighHalves,
    LowHalves,
    edges,
    find_ranges,
    from_ordered,
    to_ordered,
)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def quantiles(parts: list[NDArray[np.float32]], num_ranges: int) -> NDArray[np.float32]:
    high = HighHalves()
    for part in parts:
        one = HighHalves()
        one.add(part)
        high.merge(one)
    low = LowHalves(high.wanted(num_ranges))
    for part in reversed(parts):
        other = LowHalves(low.wanted)
        other.add(part)
        low.merge(other)
    return edges(high, low, num_ranges)


@given(values=st.lists(FLOATS, max_size=200), num_ranges=st.integers(2, 30), cut=st.integers(0, 99))
def test_edges_are_order_statistics(values: list[float], num_ranges: int, cut: int) -> None:
    numbers = np.array(values, dtype=np.float32)
    ordered = np.sort(numbers + np.float32(0))
    ranks = {-(-index * len(values) // num_ranges) for index in range(1, num_ranges)}
    wanted = np.unique([ordered[rank] for rank in ranks if 0 < rank < len(values)])
    found = quantiles([numbers[:cut], numbers[cut:]], num_ranges)
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


@given(cuts=st.lists(st.integers(0, 300_000), max_size=4))
@settings(max_examples=20)
def test_edges_do_not_depend_on_cuts(cuts: list[int]) -> None:
    """Of numbers that share a few high halves, so that large parts are counted and small ones are
    not yet."""
    numbers = (1000 + np.random.default_rng(0).random(300_000) ** 3 * 7).astype(np.float32)
    whole = quantiles([numbers], 10)
    np.testing.assert_array_equal(quantiles(np.split(numbers, sorted(cuts)), 10), whole)
    np.testing.assert_array_equal(whole, np.sort(numbers)[30_000::30_000])


@given(values=st.lists(FLOATS))
def test_bits_are_in_the_order_of_numbers(values: list[float]) -> None:
    numbers = np.array(values, dtype=np.float32)
    ordered = to_ordered(numbers)
    np.testing.assert_array_equal(from_ordered(ordered), numbers)
    np.testing.assert_array_equal(numbers[np.argsort(ordered, kind="stable")], np.sort(numbers))


def test_ranges_have_equally_many_rows() -> None:
    numbers = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    index = np.searchsorted(quantiles([numbers], 10), numbers, side="right")
    assert np.bincount(index).tolist() == [100] * 10


@given(edges=st.lists(FLOATS, max_size=50), values=st.lists(FLOATS, min_size=1))
def test_ranges_of_many_numbers(edges: list[float], values: list[float]) -> None:
    limits = np.unique(np.array(edges, dtype=np.float32) + np.float32(0))
    numbers = np.resize(np.array([*values, *edges], dtype=np.float32), 70_000)
    wanted = np.searchsorted(limits, numbers, side="right")
    np.testing.assert_array_equal(find_ranges(limits, numbers), wanted)
