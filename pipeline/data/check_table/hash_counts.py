"""Counts of distinct values by split, in bounded memory, whatever the order of the rows.

Exact up to `limit` distinct values. Beyond, only values whose hash ends with `level` zero bits are
kept, with the lowest level at which they fit: which values those are depends on the values alone,
and sums over them, times 2^level, estimate sums over all.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.data.schema import SPLITS

HASH = "hash"
_COUNTS = [pl.col(split).sum() for split in SPLITS]


class HashCounts:
    """Rows of each split by the hash of a value."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.level = 0
        self._parts: list[pl.DataFrame] = []

    def add(self, hashes: pl.Series, splits: NDArray[np.uint8]) -> None:
        """Count values by their well mixed hashes, Int64 >= 0, [n]; `splits` [n]."""
        frame = pl.DataFrame({HASH: hashes, "split": splits}).filter(self._kept)
        self._append(
            frame.lazy()
            .group_by(HASH)
            .agg((pl.col("split") == i).sum().cast(pl.Int64).alias(s) for i, s in enumerate(SPLITS))
            .collect()
        )

    def merge(self, other: HashCounts) -> None:
        """Add the counts of other rows."""
        self.level = max(self.level, other.level)
        for part in other._parts:
            self._append(part.filter(self._kept))

    @property
    def scale(self) -> int:
        """Distinct values that each kept one stands for; 1: counts are exact."""
        return 1 << self.level

    @property
    def frame(self) -> pl.DataFrame:
        """Columns hash, train, val, test; ordered by hash."""
        self._sum()
        return self._parts[0].sort(HASH)

    @property
    def _kept(self) -> pl.Expr:
        return pl.col(HASH) % self.scale == 0

    def _append(self, part: pl.DataFrame) -> None:
        self._parts.append(part)
        if sum(map(len, self._parts)) > 2 * self.limit:
            self._sum()

    def _sum(self) -> None:
        empty = pl.DataFrame(schema=dict.fromkeys([HASH, *SPLITS], pl.Int64))
        total = pl.concat([empty, *self._parts]).filter(self._kept).group_by(HASH).agg(_COUNTS)
        while len(total) > self.limit:
            self.level += 1
            total = total.filter(self._kept)
        self._parts = [total]
