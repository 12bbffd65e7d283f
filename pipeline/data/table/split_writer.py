"""Writes the rows of a split as Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data.table.encoded import column_types
from pipeline.data.table.table_rows import Table

GROUPS_PER_FILE = 64


def file_name(split: str, number: int) -> str:
    """Return the path of a file in its folder."""
    return f"{split}/part-{number:05}.parquet"


class SplitWriter:
    """Writes the rows of a split as row groups of equal size, `GROUPS_PER_FILE` a file."""

    def __init__(self, folder: Path, split: str, table: Table, first_file: int = 0) -> None:
        """`first_file`: number of the first file to write."""
        self._folder = folder
        self._first_file = first_file
        self._split = split
        self._schema = pa.schema(column_types(table))
        self._size = table.spec.rows_per_group
        self._pending: list[pa.Table] = []
        self._num_pending = 0
        self._groups = 0
        self._files: list[str] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table) -> None:
        """Append rows."""
        if not len(rows):
            return
        self._pending.append(rows)
        self._num_pending += len(rows)
        while self._num_pending >= self._size:
            self._write(self._size)
        if self._num_pending:  # a copy: a slice would keep its whole chunk in memory
            rest = self._pending[-1]
            self._pending[-1] = rest.take(pa.array(np.arange(len(rest))))

    def close(self) -> list[str]:
        """Write the rest; returns the names of the files."""
        if self._num_pending:
            self._write(self._num_pending)
        if self._writer is not None:
            self._writer.close()
        return self._files

    def _write(self, size: int) -> None:
        rows = pa.concat_tables(self._pending)
        # Compact, so that the bytes of a file do not depend on how its rows came.
        group = rows.slice(0, size).combine_chunks()
        if self._writer is None:
            name = file_name(self._split, self._first_file + len(self._files))
            self._files.append(name)
            self._writer = pq.ParquetWriter(
                self._folder / name,
                self._schema,
                compression="zstd",
                use_dictionary=list(_repeating(group)),
            )
        self._writer.write_table(group, row_group_size=size)
        self._groups += 1
        if self._groups % GROUPS_PER_FILE == 0:
            self._writer.close()
            self._writer = None
        rest = rows.slice(size)
        self._pending, self._num_pending = [rest] if len(rest) else [], len(rest)


def _repeating(group: pa.Table) -> Iterator[str]:
    """Yield the paths of columns that repeat their values: a dictionary makes others larger."""
    for name in group.column_names:
        column, path = group[name], name
        if pa.types.is_list(column.type):
            column, path = pc.list_flatten(column), f"{name}.list.element"
        if 4 * pc.count_distinct(column).as_py() <= len(column):
            yield path
