"""A sample of each split's rows, in bounded memory, that depends on the numbers of rows alone."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.data.schema import SPLITS
from pipeline.features.vocabulary import hash_integers

LIMIT = 1 << 16
"""Rows kept of a split: all, or else at least half as many."""
_DRAW = "row.draw"


class RowSample:
    """All rows of a split, or those whose number has a hash that ends with some zero bits."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._levels = [0] * len(SPLITS)
        self._parts: list[list[pl.DataFrame]] = [[] for _ in SPLITS]

    def add(
        self, rows: pl.DataFrame, splits: NDArray[np.uint8], numbers: NDArray[np.int64]
    ) -> None:
        """Add rows with their splits and their numbers in the whole table."""
        draws = hash_integers(numbers)
        drawn = pl.DataFrame([*rows.get_columns(), pl.Series(_DRAW, draws)])
        for split in range(len(SPLITS)):
            mine = (splits == split) & (draws % (1 << self._levels[split]) == 0)
            self._append(split, drawn.filter(pl.Series(mine)))

    def merge(self, other: RowSample) -> None:
        """Add other rows."""
        for split, parts in enumerate(other._parts):
            self._levels[split] = max(self._levels[split], other._levels[split])
            for part in parts:
                self._append(split, part)

    def of(self, split: int) -> pl.DataFrame:
        """Return the rows of a split, in no particular order."""
        self._shrink(split)
        return self._parts[split][0].drop(_DRAW)

    def _append(self, split: int, part: pl.DataFrame) -> None:
        self._parts[split].append(part)
        if sum(map(len, self._parts[split])) > 2 * self._limit:
            self._shrink(split)

    def _shrink(self, split: int) -> None:
        rows = pl.concat(self._parts[split])
        rows = rows.filter(pl.col(_DRAW) % (1 << self._levels[split]) == 0)
        while len(rows) > self._limit:
            self._levels[split] += 1
            rows = rows.filter(pl.col(_DRAW) % (1 << self._levels[split]) == 0)
        self._parts[split] = [rows]
