"""Exact quantiles of float32 numbers in two passes, whatever their order, in bounded memory.

The bits of floats, negative ones inverted, are in the order of the numbers. The first pass counts
the high halves, the second the low halves of those in which a quantile lies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HALF = 1 << 16


def to_ordered(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Map floats to integers of the same order; -0.0 like 0.0."""
    bits = (values + np.float32(0)).view(np.int32)
    return (bits ^ (bits >> 31 | np.int32(-(1 << 31)))).view(np.uint32)


def from_ordered(ordered: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Invert `to_ordered`."""
    bits = np.where(ordered >> 31, ordered & np.uint32(0x7FFFFFFF), ~ordered)
    return bits.astype(np.uint32).view(np.float32)


class HighHalves:
    """Counts of the high halves: the first pass."""

    def __init__(self) -> None:
        self.counts = np.zeros(_HALF, dtype=np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count finite numbers [n]."""
        self.counts += np.bincount(to_ordered(values) >> 16, minlength=_HALF)

    def merge(self, other: HighHalves) -> None:
        """Add the counts of `other`."""
        self.counts += other.counts

    def ranks(self, num_ranges: int) -> NDArray[np.int64]:
        """Return the ranks (from 0) of the first number of each range but the first."""
        total = int(self.counts.sum())
        ranks = [-(-index * total // num_ranges) for index in range(1, num_ranges)]
        return np.unique(np.array([rank for rank in ranks if 0 < rank < total], dtype=np.int64))

    def wanted(self, num_ranges: int) -> NDArray[np.int64]:
        """Return the high halves whose low halves have to be counted."""
        ends = np.cumsum(self.counts)
        return np.unique(np.searchsorted(ends, self.ranks(num_ranges), side="right"))


class LowHalves:
    """Counts of the low halves of some high halves: the second pass."""

    def __init__(self, wanted: Sequence[int] | NDArray[np.int64]) -> None:
        self.wanted = np.asarray(wanted, dtype=np.int64)
        self._counts = np.zeros((0, _HALF), dtype=np.int64)
        self._parts: list[NDArray[np.uint32]] = []
        """Numbers that are not yet in the counts: place in `wanted` and low half."""

    def add(self, values: NDArray[np.float32]) -> None:
        """Count finite numbers [n]."""
        places = np.full(_HALF, -1, dtype=np.int32)
        places[self.wanted] = np.arange(len(self.wanted))
        ordered = to_ordered(values)
        place = places[ordered >> 16]
        kept = np.flatnonzero(place >= 0)
        low = ordered[kept] & np.uint32(_HALF - 1)
        self._append([place[kept].astype(np.uint32) << np.uint32(16) | low])

    def merge(self, other: LowHalves) -> None:
        """Add the counts of `other`."""
        if len(other._counts):
            self._counts = self._counts + other._counts if len(self._counts) else other._counts
        self._append(other._parts)

    def _append(self, parts: Sequence[NDArray[np.uint32]]) -> None:
        self._parts += parts
        if sum(map(len, self._parts)) > len(self.wanted) * _HALF:
            self._counts = self.counts
            self._parts = []

    @property
    def counts(self) -> NDArray[np.int64]:
        """Counts of the low halves, [wanted, 2^16]."""
        parts = np.concatenate([np.zeros(0, dtype=np.uint32), *self._parts])
        counts = np.bincount(parts, minlength=len(self.wanted) * _HALF).reshape(-1, _HALF)
        return counts + self._counts if len(self._counts) else counts


def edges(high: HighHalves, low: LowHalves, num_ranges: int) -> NDArray[np.float32]:
    """Return the lower limits of all ranges but the first: at most `num_ranges` - 1, distinct.

    Ranges that would be empty, because one number fills several of them, are joined.
    """
    ends, low_ends = np.cumsum(high.counts), low.counts
    np.cumsum(low_ends, axis=1, out=low_ends)
    found = []
    for rank in high.ranks(num_ranges).tolist():
        half = int(np.searchsorted(ends, rank, side="right"))
        before = int(ends[half] - high.counts[half])
        row = int(np.searchsorted(low.wanted, half))
        rest = int(np.searchsorted(low_ends[row], rank - before, side="right"))
        found.append((half << 16) | rest)
    return np.unique(from_ordered(np.array(found, dtype=np.uint32)))


def find_ranges(edges: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the range of each number from 0: how many edges are not above it. NaN: any."""
    if len(values) < _HALF:
        return np.searchsorted(edges, values, side="right")
    limits, ordered = to_ordered(edges), to_ordered(values)
    halves = np.arange(_HALF, dtype=np.uint32) << np.uint32(16)
    first = np.searchsorted(limits, halves, side="right")
    is_cut = first != np.searchsorted(limits, halves | np.uint32(_HALF - 1), side="right")
    high = ordered >> 16
    found = first[high]
    rest = np.flatnonzero(is_cut[high])
    found[rest] = np.searchsorted(limits, ordered[rest], side="right")
    return found
