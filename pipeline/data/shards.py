"""The row groups of a split: Parquet files of a prepared folder, or a table's own files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pipeline.data.schema import SPLIT, Schema
from pipeline.data.split_counts import Split
from pipeline.data.split_files import ParquetShards
from pipeline.data.table.folder import load_table
from pipeline.data.table.raw_shards import RawShards
from pipeline.io.arrays import IntArray


class Shards(Protocol):
    """The row groups of a split, numbered in the order of its rows. Safe to use from threads."""

    folder: Path
    split: SPLIT
    info: Split
    group_rows: list[int]
    """Rows of each row group."""

    def read(self, groups: IntArray, names: Iterable[str] | None = None) -> pa.Table:
        """Read the rows of `groups` (ascending). `names`: columns; None: all."""
        ...

    def in_range(self, group: int, ranges: Mapping[str, tuple[float, float]]) -> bool | None:
        """Whether a row group's columns are known to be within `ranges`; None: not known."""
        ...

    def locate(self, groups: IntArray, row: int) -> str:
        """Return 'FILE: row R (from 0)' for a row returned by `read`."""
        ...

    def describe(self, groups: IntArray) -> str:
        """Describe the origin of row groups."""
        ...


def open_shards(
    folder: Path, schema: Schema, split: SPLIT, columns: Mapping[str, pa.DataType]
) -> Shards:
    """Open a split. Raises UserError if files are missing, damaged or do not match the schema."""
    table = load_table(folder)
    if table is not None and table.encode == "always":
        return RawShards(folder, schema, split, columns, table)
    return ParquetShards(folder, schema, split, columns)
