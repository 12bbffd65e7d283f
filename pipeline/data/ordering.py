"""The order of an epoch's rows and their split over ranks, resumable. Arithmetic only, no files.

An epoch is one permutation of the split's rows, independent of the ranks: row groups are permuted
and grouped into shuffle buffers, and rows are permuted within each buffer. Rank r of W reads the
r-th of W contiguous parts. The rows read so far are therefore a few ranges of positions, and a run
can resume with another number of ranks or another batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, with_config
from typing_extensions import TypedDict

from pipeline.io.arrays import IntArray
from pipeline.io.typed_json import CLOSED, Count

Ranges = tuple[tuple[int, int], ...]
"""Positions in an epoch's permutation: [start, stop) each, read in order."""


def num_rows(ranges: Ranges) -> int:
    return sum(stop - start for start, stop in ranges)


def cut(ranges: Ranges, start: int, stop: int) -> Ranges:
    """Return rows `start` to `stop`, counted along `ranges`."""
    parts = []
    for first, last in ranges:
        low, high = max(first, first + start), min(last, first + stop)
        if low < high:
            parts.append((low, high))
        start, stop = start - (last - first), stop - (last - first)
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Split of an epoch's rows over ranks, from step `first_step` on.

    Attributes:
        epoch, seed: seed the permutation.
        buffer_row_groups: row groups in a shuffle buffer; 0: no shuffling.
        ranges: rows not read by any rank before `first_step`.
        batch_size: rows per rank and step.
        drop_last: drop rows that do not fill a step on every rank, else pad.
    """

    epoch: int
    seed: int
    buffer_row_groups: int
    ranges: Ranges
    first_step: int
    batch_size: int
    world_size: int
    drop_last: bool

    @property
    def num_steps(self) -> int:
        """Steps of the epoch, equal on all ranks without communication."""
        rows, global_batch = num_rows(self.ranges), self.world_size * self.batch_size
        # Ranks have rows / world_size rows, rounded down or up: count the steps of the smallest
        # rank when dropping, of the largest when padding.
        left = rows // global_batch if self.drop_last else -(-rows // global_batch)
        return self.first_step + left

    def is_within(self, rows: int, step: int) -> bool:
        """Whether its ranges are of a split of `rows` rows, and `step` is one of its steps."""
        fits = all(stop <= rows for _, stop in self.ranges) and num_rows(self.ranges) <= rows
        return fits and self.first_step <= step <= self.num_steps

    def rank_ranges(self, rank: int) -> Ranges:
        """Return the contiguous part of a rank; sizes differ by at most one row."""
        rows = num_rows(self.ranges)
        return cut(
            self.ranges, rank * rows // self.world_size, (rank + 1) * rows // self.world_size
        )

    def steps(self, rank: int, first: int, stop: int) -> tuple[Ranges, int, int]:
        """Return the rows of `rank` in steps `first` to `stop`, number of padding rows, pad row.

        The pad row is the last row of the rank's part, so it is the same after a restart.
        """
        assert self.first_step <= first <= stop <= self.num_steps
        mine = self.rank_ranges(rank)
        rows = cut(
            mine,
            (first - self.first_step) * self.batch_size,
            (stop - self.first_step) * self.batch_size,
        )
        padding = (stop - first) * self.batch_size - num_rows(rows)
        return rows, padding, mine[-1][1] - 1 if mine else 0

    def reshard(self, step: int, batch_size: int, world_size: int) -> ShardPlan:
        """Return a plan that splits the rows not read before `step` over `world_size` ranks.

        A finished epoch is returned unchanged: its dropped rows are not used.
        """
        same = (batch_size, world_size) == (self.batch_size, self.world_size)
        if same or step == self.num_steps:
            return self
        taken = (step - self.first_step) * self.batch_size
        left: list[tuple[int, int]] = []
        for rank in range(self.world_size):
            mine = self.rank_ranges(rank)
            left.extend(cut(mine, taken, num_rows(mine)))
        return replace(
            self,
            ranges=tuple(left),
            first_step=step,
            batch_size=batch_size,
            world_size=world_size,
        )


def _range(ends: list[int]) -> list[int]:
    if len(ends) != 2 or ends[0] >= ends[1]:
        raise ValueError(f"{ends} is no [start, stop)")
    return ends


@with_config(CLOSED)
class Position(TypedDict):
    """A shard plan with the step that comes next, as a checkpoint has it."""

    epoch: Count
    seed: Count
    buffer_row_groups: Count
    ranges: list[Annotated[list[Count], AfterValidator(_range)]]
    first_step: Count
    batch_size: Annotated[Count, Field(ge=1)]
    world_size: Annotated[Count, Field(ge=1)]
    drop_last: bool
    step: Count
    rows: Count
    """Of the split."""
    row_groups: Count


@dataclass(frozen=True, slots=True)
class ReadSpan:
    """Part of one shuffle buffer: rows [start, stop) of its permutation, then padding."""

    buffer: int
    """Index of the buffer."""
    start: int
    stop: int
    padding: int = 0
    pad_row: int = 0
    """Position, in the buffer's permutation, of the row repeated as padding."""


class EpochPermutation:
    """An epoch's shuffle buffers and the permutation of the rows in each."""

    def __init__(
        self, group_rows: Sequence[int], *, epoch: int, seed: int, buffer_row_groups: int
    ) -> None:
        """
        Args:
            group_rows: rows of each row group, in file order.
            epoch, seed, buffer_row_groups: as in `ShardPlan`.
        """
        self._key = (seed, epoch)
        self._shuffle = buffer_row_groups > 0
        groups = np.arange(len(group_rows))
        if self._shuffle:
            groups = np.random.default_rng(self._key).permutation(groups)
        size = max(1, buffer_row_groups)
        # Row groups are sorted within a buffer, so that files are read front to back.
        self.buffers: list[IntArray] = [
            np.sort(groups[first : first + size]) for first in range(0, len(groups), size)
        ]
        rows = np.asarray(group_rows, dtype=np.int64)
        self._starts = np.cumsum([0, *(rows[buffer].sum() for buffer in self.buffers)])

    def rows(self, buffer: int) -> IntArray:
        """Permutation of the buffer's rows, counted along its row groups."""
        count = int(self._starts[buffer + 1] - self._starts[buffer])
        if not self._shuffle:
            return np.arange(count)
        # Three words of seed never equal the two of the row groups' draw.
        return np.random.default_rng((*self._key, buffer)).permutation(count)

    def spans(self, ranges: Ranges, padding: int = 0, pad_row: int = 0) -> list[ReadSpan]:
        """Cut `ranges` at buffer boundaries; append the row at `pad_row` `padding` times."""
        spans = [span for start, stop in ranges for span in self._spans(start, stop)]
        if padding:
            (last,) = self._spans(pad_row, pad_row + 1)
            if spans and spans[-1].buffer == last.buffer:
                spans[-1] = replace(spans[-1], padding=padding, pad_row=last.start)
            else:
                spans.append(replace(last, stop=last.start, padding=padding, pad_row=last.start))
        return spans

    def _spans(self, start: int, stop: int) -> list[ReadSpan]:
        first, last = np.searchsorted(self._starts, (start, stop - 1), side="right") - 1
        return [
            ReadSpan(
                buffer=buffer,
                start=max(start - int(self._starts[buffer]), 0),
                stop=min(stop, int(self._starts[buffer + 1])) - int(self._starts[buffer]),
            )
            for buffer in range(int(first), int(last) + 1)
        ]
