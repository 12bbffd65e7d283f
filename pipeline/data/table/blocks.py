"""Cuts the rows of a split into blocks of equal size, however they are cut into chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows `start` to `stop` of a split's rows in a chunk."""

    chunk: int
    start: int
    stop: int


class Blocks:
    """Blocks of the rows of one split: all of `size` rows but the last."""

    def __init__(self, chunk_rows: NDArray[np.int64], size: int) -> None:
        """`chunk_rows`: rows of the split in each chunk, [chunks]."""
        self._ends = np.cumsum(chunk_rows)
        self._starts = self._ends - chunk_rows
        self.rows = int(self._ends[-1]) if len(chunk_rows) else 0
        self.size = size

    @property
    def group_rows(self) -> list[int]:
        """Rows of each block."""
        full, rest = divmod(self.rows, self.size)
        return [self.size] * full + ([rest] if rest else [])

    def slices(self, block: int) -> list[Slice]:
        """Return where the rows of a block are, in order."""
        start = block * self.size
        stop = min(start + self.size, self.rows)
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left"))
        return [
            Slice(
                chunk,
                max(start - int(self._starts[chunk]), 0),
                min(stop, int(self._ends[chunk])) - int(self._starts[chunk]),
            )
            for chunk in range(first, last + 1)
            if self._ends[chunk] > self._starts[chunk]
        ]
