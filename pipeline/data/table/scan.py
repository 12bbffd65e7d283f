"""The first pass over a table: rows of each split by chunk, label counts, fitted features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.data.prefetch import in_order
from pipeline.data.schema import SPLITS
from pipeline.data.table.splits import TRAIN
from pipeline.data.table.table_rows import SHOWN, Fault, Table
from pipeline.features.fit import Counts, add_low
from pipeline.features.fitted import Fitted
from pipeline.features.moments import Moments
from pipeline.features.program import WEIGHT, label_column
from pipeline.features.quantiles import LowHalves
from pipeline.io.errors import UserError

Out = TypeVar("Out")
WORKERS = 2
"""Threads that read ahead; Polars has its own."""

Progress = Callable[[int, int, str], None]
"""Called with rows done, all rows, and what is done."""


@dataclass(slots=True)
class LabelCounts:
    """Counts of a label in one split, and exact sums of the rows' weights."""

    positives: int = 0
    missing: int = 0
    positive_weights: Moments = field(default_factory=Moments)
    missing_weights: Moments = field(default_factory=Moments)

    def add(self, labels: NDArray[np.float32], weights: NDArray[np.float32] | None) -> None:
        """Count rows of the split."""
        positive, missing = labels == 1, np.isnan(labels)
        self.positives += int(np.count_nonzero(positive))
        self.missing += int(np.count_nonzero(missing))
        if weights is not None:
            self.positive_weights.add(weights[positive])
            self.missing_weights.add(weights[missing])

    def merge(self, other: LabelCounts) -> None:
        """Add the counts of other rows."""
        self.positives += other.positives
        self.missing += other.missing
        self.positive_weights.merge(other.positive_weights)
        self.missing_weights.merge(other.missing_weights)


@dataclass(slots=True)
class Scan:
    """What the first pass finds; `add` sums the scans of chunks, in order."""

    counts: Counts
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    """Good rows of each split, [3], by chunk."""
    labels: dict[str, list[LabelCounts]] = field(default_factory=dict)
    """By task and split."""
    weights: list[Moments] = field(default_factory=lambda: [Moments() for _ in SPLITS])
    """Row weights by split, if rows have weights."""
    num_bad: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, other: Scan) -> None:
        """Add the scan of the chunks that follow."""
        self.counts.merge(other.counts)
        self.rows += other.rows
        for task, found in other.labels.items():
            for mine, theirs in zip(self.labels[task], found, strict=True):
                mine.merge(theirs)
        for weights, added in zip(self.weights, other.weights, strict=True):
            weights.merge(added)
        self.num_bad += other.num_bad
        self.faults = (self.faults + other.faults)[:SHOWN]


def empty_scan(table: Table) -> Scan:
    """Return the scan of no rows."""
    labels = {task: [LabelCounts() for _ in SPLITS] for task in table.spec.labels}
    return Scan(Counts(table.spec.features), labels=labels)


def scan_chunk(table: Table, index: int) -> Scan:
    """Scan one chunk."""
    found = table.read(index)
    scan = empty_scan(table)
    raw = table.program.raw(found.frame)
    scan.rows.append(np.bincount(found.splits, minlength=len(SPLITS)).astype(np.int64))
    weights = None if table.spec.weight is None else raw[WEIGHT].to_numpy()
    for split in range(len(SPLITS)):
        mine = found.splits == split
        own = None if weights is None else weights[mine]
        if own is not None:
            scan.weights[split].add(own)
        for task, counts in scan.labels.items():
            counts[split].add(raw[label_column(task)].to_numpy()[mine], own)
    is_train = found.splits == TRAIN
    scan.counts.add(raw if is_train.all() else raw.filter(pl.Series(is_train)))
    scan.num_bad, scan.faults = found.num_bad, found.faults
    return scan


def low_chunk(table: Table, low: dict[str, LowHalves], index: int) -> dict[str, LowHalves]:
    """Count one chunk for the second pass of quantiles."""
    mine = {name: LowHalves(one.wanted) for name, one in low.items()}
    add_low(mine, table.program.raw(table.read(index).of(TRAIN)))
    return mine


def scan(table: Table, progress: Progress) -> tuple[Scan, Fitted]:
    """Scan the whole table and fit its features. Raises UserError for the first bad value."""
    total = empty_scan(table)
    for part in _passed(table, partial(scan_chunk, table), "counting", progress):
        total.add(part)
    if not sum(rows[TRAIN] for rows in total.rows):
        raise UserError(
            "data.split: no row is in the training split; change data.split, or add rows"
        )
    low = total.counts.low
    if low:
        parts = _passed(table, partial(low_chunk, table, low), "finding quantiles", progress)
        for found in parts:
            for name, halves in low.items():
                halves.merge(found[name])
    return total, total.counts.fit(low)


def _passed(
    table: Table, work: Callable[[int], Out], what: str, progress: Progress
) -> Iterator[Out]:
    """Yield the results of all chunks, in order."""
    done = 0
    tasks: Iterable[Callable[[], Out]] = (partial(work, i) for i in range(len(table.chunks)))
    for chunk, result in zip(table.chunks, in_order(tasks, WORKERS), strict=True):
        yield result
        done += chunk.rows
        progress(done, table.rows, what)
