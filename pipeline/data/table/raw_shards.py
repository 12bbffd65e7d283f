"""The rows of a split, encoded as they are read from a table's files (data.encode always).

Implements the interface of `Shards`; its row groups are blocks of
rows, the same as in a prepared copy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa

from pipeline.data.schema import AGAIN, SPLIT, SPLITS, Schema
from pipeline.data.table.blocks import Blocks
from pipeline.data.table.encoded import encode_split
from pipeline.data.table.folder import TableFile, changed_files, load_chunk_rows, records
from pipeline.data.table.table_rows import Table
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError

CACHE_BYTES = 1 << 30
"""Encoded chunks that are kept: blocks are read in random order."""
_BLOCKS = 4
"""Blocks in a merged chunk: more would be encoded in vain for tables larger than the cache."""


class RawShards:
    """The blocks of a split, in the order of the table's rows."""

    def __init__(
        self,
        folder: Path,
        schema: Schema,
        split: SPLIT,
        columns: Mapping[str, pa.DataType],
        record: TableFile,
    ) -> None:
        """`columns`: columns to read. Raises UserError if the table's files have changed."""
        self.folder = folder
        self.split: SPLIT = split
        self.info = schema.splits[split]
        if self.info.rows == 0:
            raise UserError(
                f"{folder}: split {split!r} has no rows; use another split, or {AGAIN} with some"
            )
        self._columns = list(columns)
        self._table = Table(record.spec, max_rows=_BLOCKS * record.spec.rows_per_group)
        check_unchanged(self._table, record, folder)
        self._fitted = record.fitted(folder)
        self._split = SPLITS.index(split)
        rows = load_chunk_rows(folder, self._table.chunks)
        self._blocks = Blocks(rows[:, self._split], record.spec.rows_per_group)
        self.group_rows = self._blocks.group_rows
        self._cache = ChunkCache(CACHE_BYTES)

    def read(self, groups: IntArray, names: Iterable[str] | None = None) -> pa.Table:
        """Read the rows of blocks. Raises UserError if a file is damaged."""
        parts = [
            self._chunk(part.chunk).slice(part.start, part.stop - part.start)
            for group in groups.tolist()
            for part in self._blocks.slices(group)
        ]
        return pa.concat_tables(parts).select(list(names or self._columns))

    def _chunk(self, index: int) -> pa.Table:
        return self._cache.get(
            index, lambda: encode_split(self._table, self._fitted, index, self._split)
        )

    def in_range(self, group: int, ranges: Mapping[str, tuple[float, float]]) -> bool | None:
        """Encoded values are in range."""
        return True

    def locate(self, groups: IntArray, row: int) -> str:
        """Describe the origin of a row returned by `read`, for messages."""
        ends = np.cumsum([self.group_rows[group] for group in groups])
        index = int(np.searchsorted(ends, row, side="right"))
        group = int(groups[index])
        in_group = row - int(ends[index]) + self.group_rows[group]
        return f"{self.describe(groups[index : index + 1])}: row {in_group} of split {self.split!r}"

    def describe(self, groups: IntArray) -> str:
        """Return 'logs/a.csv rows 0 to 4095, ...', for messages."""
        chunks = dict.fromkeys(
            part.chunk for group in groups.tolist() for part in self._blocks.slices(group)
        )
        found = [self._table.chunks[index] for index in chunks]
        return "; ".join(
            f"{self._table.source.files[one.file].name} rows {one.first_row} to "
            f"{one.first_row + one.rows - 1}"
            for one in found
        )


class ChunkCache:
    """The most recently used chunks, up to a number of bytes. Each is computed once at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()
        self._running: dict[int, Future[pa.Table]] = {}
        self._bytes = 0

    def get(self, key: int, compute: Callable[[], pa.Table]) -> pa.Table:
        """Return the table of `key`, which `compute` returns if it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            future = self._running.get(key)
            mine = future is None
            if future is None:
                future = self._running[key] = Future()
        if not mine:
            return future.result()
        try:
            found = compute()
        except BaseException as error:
            with self._lock:
                del self._running[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._running[key]
            self._kept[key] = found
            self._bytes += found.nbytes
            while self._bytes > self._limit and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._bytes -= old.nbytes
        future.set_result(found)
        return found


def check_unchanged(table: Table, record: TableFile, folder: Path) -> None:
    """Raise UserError if the files are not those that `folder` was made from."""
    change = changed_files(record.files, records(table.source.files)) or changed_files(
        record.side_files, records(table.source.side_files), "side tables"
    )
    if change:
        raise UserError(
            f"{folder}: {change} since it was prepared; to take the files as they are now, run "
            "'homerec prepare table --config FILE --overwrite'"
        )
