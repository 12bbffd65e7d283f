"""What one reading of a table counts. Sums of the tallies of chunks do not depend on the chunks."""

from __future__ import annotations

from functools import reduce
from operator import or_

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.data.check_table.hash_counts import HashCounts
from pipeline.data.check_table.periods import NUM_PARTS, Periods
from pipeline.data.check_table.row_sample import RowSample
from pipeline.data.schema import SPLITS
from pipeline.data.table.table_rows import SHOWN, CheckedRows, Fault, Table
from pipeline.features.config import FeatureConfig
from pipeline.features.program import label_column
from pipeline.features.values import hashed, is_missing, time
from pipeline.features.vocabulary import hash_integers

ROWS_LIMIT = 1 << 22
"""Distinct rows that are counted exactly."""
IDS_LIMIT = 1 << 24
"""Distinct ids that are counted exactly, of all features together."""
_FEATURE_LIMITS = 1 << 16, 1 << 21
NUMBERS_LIMIT = 1 << 16
"""Distinct numbers that are counted exactly, by feature."""


def is_numeric(feature: FeatureConfig) -> bool:
    """Whether a feature's raw values are numbers."""
    return feature.type == "number" or feature.ids.quantiles is not None


class Tally:
    """Counts by split, [3], of rows, bad values, labels, missing and distinct values."""

    def __init__(self, table: Table, time_column: str | None = None) -> None:
        """`time_column`: a column that the table reads."""
        self._table = table
        self._time = time_column
        self._features = table.spec.features
        num_ids = sum(not is_numeric(one) for one in self._features.values())
        low, high = _FEATURE_LIMITS
        ids_limit = min(max(IDS_LIMIT // max(num_ids, 1), low), high)
        self.rows = np.zeros(len(SPLITS), dtype=np.int64)
        self.num_bad = 0
        self.failures = np.zeros(len(table.checks), dtype=np.int64)
        self.faults: list[list[Fault]] = [[] for _ in table.checks]
        self.positives = {task: _zeros() for task in table.spec.labels}
        self.unlabeled = {task: _zeros() for task in table.spec.labels}
        self.missing = {name: _zeros() for name in self._features}
        """Rows without a value."""
        self.values = {name: _zeros() for name in self._features}
        """Values; a list has several."""
        self.distinct = {
            name: HashCounts(NUMBERS_LIMIT if is_numeric(one) else ids_limit)
            for name, one in self._features.items()
        }
        self.whole_rows = HashCounts(ROWS_LIMIT)
        self.numbers = RowSample()
        self.periods = Periods()

    def add(self, found: CheckedRows) -> None:
        """Count the rows of a chunk."""
        self.num_bad += found.num_bad
        self.failures += found.failures
        for check, fault in found.faults:
            self.faults[check].append(fault)
        splits = found.splits
        self.rows += _by_split(splits)
        hashes = found.frame.hash_rows(0).to_numpy().view(np.int64)
        self.whole_rows.add(pl.Series(hash_integers(hashes)), splits)
        raw = self._table.program.raw(found.frame)
        self._add_labels(raw, found)
        numbers = {}
        for name, feature in self._features.items():
            if is_numeric(feature):
                numbers[name] = self._add_number(name, feature, raw[name], found)
            else:
                self._add_ids(name, raw[name], splits)
        self.numbers.add(pl.DataFrame(numbers), splits, found.numbers)

    def _add_labels(self, raw: pl.DataFrame, found: CheckedRows) -> None:
        for task in self.positives:
            values = raw[label_column(task)].to_numpy()
            self.positives[task] += _by_split(found.splits[values == 1])
            self.unlabeled[task] += _by_split(found.splits[np.isnan(values)])
        times = None
        if self._time is not None:
            value = time(pl.col(self._time), self._table.types[self._time])
            times = found.frame.select(value.alias("time")).to_series()
        parts = found.numbers * NUM_PARTS // self._table.rows
        labels = raw.select(label_column(task) for task in self.positives)
        self.periods.add(labels, pl.Series(parts), times)

    def _add_number(
        self, name: str, feature: FeatureConfig, values: pl.Series, found: CheckedRows
    ) -> pl.Series:
        """Count numbers; returns them with NaN for the missing."""
        types = self._table.types
        columns = feature.columns(name)
        missing = reduce(or_, (is_missing(pl.col(one), types[one]) for one in columns))
        is_null = found.frame.select(missing.alias("missing")).to_series() | values.is_null()
        nulls = is_null.to_numpy()
        numbers = np.where(nulls, np.float32("nan"), values.fill_null(0.0).to_numpy())
        numbers = numbers.astype(np.float32) + np.float32(0)  # -0.0 is 0.0
        self.missing[name] += _by_split(found.splits[nulls])
        known = found.splits[~nulls]
        self.values[name] += _by_split(known)
        bits = numbers[~nulls].view(np.uint32).astype(np.int64)
        self.distinct[name].add(pl.Series(hash_integers(bits)), known)
        return pl.Series(numbers)

    def _add_ids(self, name: str, values: pl.Series, splits: NDArray[np.uint8]) -> None:
        frame = pl.DataFrame({"id": values, "split": splits})
        if values.dtype == pl.List:
            empty = values.list.len() == 0
            self.missing[name] += _by_split(splits[empty.to_numpy()])
            frame = frame.explode("id", empty_as_null=False, keep_nulls=False)
        else:
            self.missing[name] += _by_split(splits[values.is_null().to_numpy()])
        frame = frame.drop_nulls("id").select(
            hashed(pl.col("id").cast(pl.String)).alias("id"), "split"
        )
        known = frame["split"].to_numpy()
        self.values[name] += _by_split(known)
        self.distinct[name].add(frame["id"], known)

    def merge(self, other: Tally) -> None:
        """Add the tally of the chunks that follow."""
        self.rows += other.rows
        self.num_bad += other.num_bad
        self.failures += other.failures
        self.faults = [
            (mine + theirs)[:SHOWN] for mine, theirs in zip(self.faults, other.faults, strict=True)
        ]
        for name in ("positives", "unlabeled", "missing", "values"):
            mine, theirs = getattr(self, name), getattr(other, name)
            for key, counts in theirs.items():
                mine[key] += counts
        for feature, distinct in other.distinct.items():
            self.distinct[feature].merge(distinct)
        self.whole_rows.merge(other.whole_rows)
        self.numbers.merge(other.numbers)
        self.periods.merge(other.periods)


def tally_chunk(table: Table, time_column: str | None, index: int) -> Tally:
    """Read and count one chunk."""
    tally = Tally(table, time_column)
    tally.add(table.check(index))
    return tally


def _zeros() -> NDArray[np.int64]:
    return np.zeros(len(SPLITS), dtype=np.int64)


def _by_split(splits: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(splits, minlength=len(SPLITS)).astype(np.int64)
