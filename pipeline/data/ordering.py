"""Which rows come when: an epoch's order, dealt to ranks, resumable. Arithmetic only, no files.

An epoch is one sequence of all the split's rows, whoever reads them: its row groups are permuted
and cut into windows, and the rows within a window are permuted. Rank r of W gets the r-th of W
contiguous parts of it. What has been handed out, and what is left, are therefore a few ranges of
positions in that sequence, so a run may go on with other ranks and another batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Ranges = tuple[tuple[int, int], ...]
"""Positions in an epoch's sequence: [start, stop) each, read one after the other."""


def num_rows(ranges: Ranges) -> int:
    return sum(stop - start for start, stop in ranges)


def cut(ranges: Ranges, start: int, stop: int) -> Ranges:
    """Rows `start` to `stop` of the `ranges`, counted along them."""
    parts = []
    for first, last in ranges:
        low, high = max(first, first + start), min(last, first + stop)
        if low < high:
            parts.append((low, high))
        start, stop = start - (last - first), stop - (last - first)
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Deal:
    """How an epoch's rows go to the ranks, from step `first_step` on.

    Attributes:
        epoch, seed, window: name the epoch's sequence; `window` is in row groups, 0 = unshuffled.
        ranges: the rows that no rank had been handed before `first_step`.
        batch_size: rows a rank and step.
        drop_last: training leaves out rows that do not fill a step on every rank; evaluation pads.
    """

    epoch: int
    seed: int
    window: int
    ranges: Ranges
    first_step: int
    batch_size: int
    world_size: int
    drop_last: bool

    @property
    def num_steps(self) -> int:
        """Steps of the whole epoch, the same on every rank: known without communication."""
        rows, global_batch = num_rows(self.ranges), self.world_size * self.batch_size
        # A rank has rows / ranks rows, rounded down or up: these are the steps of the smallest
        # rank in training, of the largest in evaluation.
        left = rows // global_batch if self.drop_last else -(-rows // global_batch)
        return self.first_step + left

    def of_rank(self, rank: int) -> Ranges:
        """The rank's contiguous part, of as many rows as any other's, or one more or less."""
        rows = num_rows(self.ranges)
        return cut(
            self.ranges, rank * rows // self.world_size, (rank + 1) * rows // self.world_size
        )

    def steps(self, rank: int, first: int, stop: int) -> tuple[Ranges, int, int]:
        """What `rank` reads in steps `first` to `stop`: rows, padding rows, the row to pad with.

        The row to pad with is the last of the rank's part, so that it is the same after a restart.
        """
        assert self.first_step <= first <= stop <= self.num_steps
        mine = self.of_rank(rank)
        rows = cut(
            mine,
            (first - self.first_step) * self.batch_size,
            (stop - self.first_step) * self.batch_size,
        )
        padding = (stop - first) * self.batch_size - num_rows(rows)
        return rows, padding, mine[-1][1] - 1 if mine else 0

    def again(self, step: int, batch_size: int, world_size: int) -> Deal:
        """The rows that no rank has been handed before `step`, dealt anew.

        The rows that training leaves out of a finished epoch stay left out.
        """
        same = (batch_size, world_size) == (self.batch_size, self.world_size)
        if same or step == self.num_steps:
            return self
        taken = (step - self.first_step) * self.batch_size
        left: list[tuple[int, int]] = []
        for rank in range(self.world_size):
            mine = self.of_rank(rank)
            left.extend(cut(mine, taken, num_rows(mine)))
        return replace(
            self,
            ranges=tuple(left),
            first_step=step,
            batch_size=batch_size,
            world_size=world_size,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """What to read of one window: the rows at [start, stop) of its order, then padding."""

    window: int
    start: int
    stop: int
    padding: int = 0
    filler: int = 0
    """The place in the window's order of the row that is repeated as padding."""


class EpochOrder:
    """The sequence of an epoch: windows of row groups, and the order of the rows in each."""

    def __init__(self, group_rows: Sequence[int], *, epoch: int, seed: int, window: int) -> None:
        """`group_rows`: rows of each row group, in file order. `window` as in `Deal`."""
        self._key = (seed, epoch)
        self._shuffle = window > 0
        groups = np.arange(len(group_rows))
        if self._shuffle:
            groups = np.random.default_rng(self._key).permutation(groups)
        size = max(1, window)
        # Sorted within a window: there rows are permuted anyway, and files are read front to back.
        self.windows: list[Ints] = [
            np.sort(groups[first : first + size]) for first in range(0, len(groups), size)
        ]
        rows = np.asarray(group_rows, dtype=np.int64)
        self._starts = np.cumsum([0, *(rows[window].sum() for window in self.windows)])

    def rows(self, window: int) -> Ints:
        """A permutation of the window's rows (counted along its row groups)."""
        count = int(self._starts[window + 1] - self._starts[window])
        if not self._shuffle:
            return np.arange(count)
        # The window's number makes three words of seed: never the two of the row groups' draw.
        return np.random.default_rng((*self._key, window)).permutation(count)

    def pieces(self, ranges: Ranges, padding: int = 0, filler: int = 0) -> list[Piece]:
        """`ranges` cut at the borders of windows, then the row at `filler`, `padding` times."""
        pieces = [piece for start, stop in ranges for piece in self._pieces(start, stop)]
        if padding:
            (last,) = self._pieces(filler, filler + 1)
            if pieces and pieces[-1].window == last.window:
                pieces[-1] = replace(pieces[-1], padding=padding, filler=last.start)
            else:
                pieces.append(replace(last, stop=last.start, padding=padding, filler=last.start))
        return pieces

    def _pieces(self, start: int, stop: int) -> list[Piece]:
        first, last = np.searchsorted(self._starts, (start, stop - 1), side="right") - 1
        return [
            Piece(
                window=window,
                start=max(start - int(self._starts[window]), 0),
                stop=min(stop, int(self._starts[window + 1])) - int(self._starts[window]),
            )
            for window in range(int(first), int(last) + 1)
        ]
