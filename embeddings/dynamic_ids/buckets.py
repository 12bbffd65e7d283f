"""Cuts the rows of a table into buckets, each for the ids with one hash."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

WIDTH = 64
"""Most rows of a bucket. A lookup compares an id with all of them; an id that comes to a full
bucket evicts one of them, although another bucket may have a free row."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of a table: as few as have at most WIDTH rows each, equal but for one row.

    They depend on the number of rows alone. A rank owns a range of them, so that what happens in a
    bucket is the same on any number of ranks.
    """

    rows: int
    """At least 1."""

    @property
    def count(self) -> int:
        return -(-self.rows // WIDTH)

    def starts(self, first: int = 0, last: int | None = None) -> Ints:
        """Return the first rows of buckets `first` to `last` (excluded; None: all), and the row
        after them."""
        last = self.count if last is None else last
        return np.arange(first, last + 1, dtype=np.int64) * self.rows // self.count

    def of(self, ids: Ints) -> Ints:
        """Return the bucket of each id."""
        return (_mixed(ids) % np.uint64(self.count)).astype(np.int64)

    def owned(self, rank: int, ranks: int) -> tuple[int, int]:
        """Return the first bucket of a rank, and the one after its last; equal if it has none."""
        return rank * self.count // ranks, (rank + 1) * self.count // ranks

    def owner(self, buckets: Ints, ranks: int) -> Ints:
        """Return the rank that owns each bucket."""
        ends = (np.arange(ranks) + 1) * self.count // ranks
        return np.searchsorted(ends, buckets, side="right").astype(np.int64)


def _mixed(ids: Ints) -> NDArray[np.uint64]:
    """Return splitmix64 of each id (Steele, Lea, Flood: Fast Splittable PRNGs, OOPSLA 2014)."""
    mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
