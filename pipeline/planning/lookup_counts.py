"""Counts lookups of a table by row of the data; memory depends only on distinct ids."""

from __future__ import annotations

import numpy as np

from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.inputs.table_stats import AccessCounts
from pipeline.io.arrays import IntArray


class LookupCounts:
    """Lookups of a table, in the order of the data."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._ids = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)
        """For each id, ascending: lookups so far, and the row of the last one."""
        # [l] lookups whose id did not occur before in the same 2^k rows, for k < l only.
        self._fresh = np.zeros(65, np.int64)

    def add(self, ids: IntArray, rows: IntArray) -> None:
        """Add lookups of `ids` in `rows` of the data (ascending, not before earlier ones)."""
        order = np.argsort(ids, kind="stable")
        ids, rows = ids[order], rows[order]
        first = np.concatenate([[True], ids[1:] != ids[:-1]])
        starts = np.flatnonzero(first)
        unique, counts = ids[starts], np.diff(starts, append=len(ids))
        place = np.searchsorted(self._ids, unique)
        new = np.ones(len(unique), bool)
        inside = place < len(self._ids)
        new[inside] = self._ids[place[inside]] != unique[inside]
        before = np.concatenate([[-1], rows[:-1]])
        before[starts] = -1
        before[starts[~new]] = self._last[place[~new]]
        # Rows r and s are in the same block of 2^k if they differ only in the lowest k bits. All
        # blocks except the last are complete.
        apart = np.where(before < 0, 64, _bits(rows ^ before))
        whole = _bits(rows ^ self._rows)
        self._fresh += np.bincount(np.minimum(apart, whole), minlength=65)
        ends = rows[starts + counts - 1]
        self._counts[place[~new]] += counts[~new]
        self._last[place[~new]] = ends[~new]
        if new.any():
            at = place[new]
            self._ids = np.insert(self._ids, at, unique[new])
            self._counts = np.insert(self._counts, at, counts[new])
            self._last = np.insert(self._last, at, ends[new])

    def accesses(self, table: ListedTable) -> AccessCounts:
        counts, rows = np.unique(self._counts, return_counts=True)
        sizes = self._rows.bit_length()
        distinct = self._fresh[::-1].cumsum()[::-1][1 : sizes + 1]
        blocks = self._rows >> np.arange(sizes)
        return AccessCounts(
            rows=table.rows,
            features=table.feature_names,
            spectrum=tuple(zip(counts[::-1].tolist(), rows[::-1].tolist(), strict=True)),
            distinct=(*(distinct / blocks).tolist(), float(len(self._ids))),
        )


def _bits(numbers: IntArray) -> IntArray:
    """Bits that each number has (0 for 0), which a float of 53 bits tells exactly."""
    found: IntArray = np.frexp(numbers.astype(np.float64))[1].astype(np.int64)
    return found
