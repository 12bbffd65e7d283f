"""The first pass over a table: rows of each split by chunk, label counts, fitted features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.data.schema import SPLITS
from pipeline.data.table.engine import Engine, Progress
from pipeline.data.table.splits import TRAIN
from pipeline.data.table.table_rows import SHOWN, Fault, Table
from pipeline.features.fit import Counts, add_low
from pipeline.features.fitted import Fitted
from pipeline.features.moments import Moments
from pipeline.features.program import WEIGHT, label_column
from pipeline.features.quantiles import LowHalves
from pipeline.io.errors import UserError


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
    """Good rows of each split by part, [parts, 3], of each chunk."""
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


def scan_chunks(table: Table, chunks: Sequence[int]) -> Scan:
    """Scan some chunks."""
    total = empty_scan(table)
    for index in chunks:
        total.add(_scan_chunk(table, index))
    return total


def _scan_chunk(table: Table, index: int) -> Scan:
    found = table.read(index)
    scan = empty_scan(table)
    raw = table.program.raw_columns(found.rows)
    shape = len(table.chunks[index].part_rows), len(SPLITS)
    places = len(SPLITS) * found.parts + found.splits
    scan.rows.append(np.bincount(places, minlength=math.prod(shape)).reshape(shape))
    weights = None if table.spec.weight is None else raw[WEIGHT].series.to_numpy()
    labels = {task: raw[label_column(task)].series.to_numpy() for task in scan.labels}
    for split in range(len(SPLITS)):
        mine = found.splits == split
        own = None if weights is None else weights[mine]
        if own is not None:
            scan.weights[split].add(own)
        for task, counts in scan.labels.items():
            counts[split].add(labels[task][mine], own)
    scan.counts.add(raw, found.splits == TRAIN)
    scan.num_bad, scan.faults = found.num_bad, found.faults
    return scan


def low_chunks(
    wanted: Mapping[str, NDArray[np.int64]],
    rows: Sequence[NDArray[np.int64]],
    table: Table,
    chunks: Sequence[int],
) -> dict[str, LowHalves]:
    """Count some chunks for the second pass of quantiles.

    `wanted`: high halves by feature; `rows`: as in `Scan`, of the whole table.
    """
    low = {name: LowHalves(one) for name, one in wanted.items()}
    for index in chunks:
        if not rows[index][:, TRAIN].any():
            continue
        has_bad = rows[index].sum() < table.chunks[index].rows
        found = table.read(index) if has_bad else table.read_features(index, low)
        add_low(low, table.program.raw_columns(found.rows, list(low)), found.splits == TRAIN)
    return low


def scan(table: Table, engine: Engine, progress: Progress) -> tuple[Scan, Fitted]:
    """Scan the whole table and fit its features. Raises UserError for the first bad value."""
    total = empty_scan(table)
    for part in engine.over_chunks(table, scan_chunks, "counting", progress):
        total.add(part)
    if not any(rows[:, TRAIN].any() for rows in total.rows):
        raise UserError(
            "data.split: no row is in the training split; change data.split, or add rows"
        )
    low = total.counts.low
    if low:
        wanted = {name: one.wanted for name, one in low.items()}
        work = partial(low_chunks, wanted, total.rows)
        for found in engine.over_chunks(table, work, "finding quantiles", progress):
            for name, halves in low.items():
                halves.merge(found[name])
    return total, total.counts.fit(low)
