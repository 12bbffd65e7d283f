"""The Parquet files of a split: checked against the schema and read by row group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.column_types import cast, is_castable
from pipeline.data.footer_statistics import ColumnStatistics, footer_statistics
from pipeline.data.schema import AGAIN, SPLIT, Schema
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError, nearest
from pipeline.io.files import has_file
from pipeline.io.parquet_input import open_input, read_footer


class ParquetShards:
    """The row groups of a split in Parquet files, numbered in the schema's order of files.

    Footers are read once, here. Files are opened for every read: a `ParquetFile` must not be shared
    by threads, and thousands of open files would exhaust the file descriptors.
    """

    def __init__(
        self, folder: Path, schema: Schema, split: SPLIT, columns: Mapping[str, pa.DataType]
    ) -> None:
        """`columns`: columns to read and their types. Raises UserError if the files lack one."""
        info = schema.splits.get(split)
        if info is None or info.rows == 0:
            raise UserError(
                f"{folder}: split {split!r} has no rows; use another split, or {AGAIN} with some"
            )
        self.folder = folder
        self.split: SPLIT = split
        self.info = info
        self._names = info.files
        self._paths = [folder / name for name in info.files]
        self._columns = dict(columns)
        self._footers = [_footer(path, columns) for path in self._paths]
        groups = [
            (file, group, footer.row_group(group).num_rows)
            for file, footer in enumerate(self._footers)
            for group in range(footer.num_row_groups)
        ]
        found = sum(rows for _, _, rows in groups)
        if found != info.rows:
            raise UserError(
                f"{folder / 'schema.json'}: split {split!r} has {info.rows} rows, but its files "
                f"({', '.join(self._names)}) have {found}: damaged or incomplete; {AGAIN}"
            )
        self._groups = [(file, group) for file, group, rows in groups if rows]
        self.group_rows = [rows for _, _, rows in groups if rows]
        self._statistics_of: tuple[int, list[list[ColumnStatistics]]] = (-1, [])

    def read(self, groups: IntArray, names: Iterable[str] | None = None) -> pa.Table:
        """Read the rows of `groups` (ascending), from files of any writer.

        `names`: columns to read; None: all. Raises UserError if a file is damaged, or a value
        cannot be cast to its column's type.
        """
        types = {name: self._columns[name] for name in names or self._columns}
        tables = []
        rows = 0
        for file, of_file in self._by_file(groups):
            path = self._paths[file]
            try:
                with (
                    open_input(path, mapped=True) as mapped,
                    pq.ParquetFile(mapped, metadata=self._footers[file]) as parquet,
                ):
                    table = parquet.read_row_groups(of_file, columns=list(types), use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise UserError(
                    f"{path}: row groups {_listed(of_file)} cannot be read "
                    f"({_first_line(error)}); {AGAIN}"
                ) from error
            locate = partial(self._locate_behind, groups, rows)
            tables.append(cast(table, types, locate, AGAIN))
            rows += len(table)
        return pa.concat_tables(tables)

    def _locate_behind(self, groups: IntArray, before: int, row: int) -> str:
        return self.locate(groups, before + row)

    def in_range(self, group: int, ranges: Mapping[str, tuple[float, float]]) -> bool | None:
        """Whether the columns of a row group are within `ranges`, by the statistics in the footer.

        None: within the known statistics, but some are missing.
        """
        file, of_file = self._groups[group]
        known: set[str] = set()
        for name, limits in self._statistics(file)[of_file]:
            if (allowed := ranges.get(name)) is None:
                continue
            if limits and not allowed[0] <= limits[0] <= limits[1] <= allowed[1]:
                return False
            known.add(name)
        return True if len(known) == len(ranges) else None

    def _statistics(self, file: int) -> list[list[ColumnStatistics]]:
        if self._statistics_of[0] != file:
            found = footer_statistics(self._paths[file], self._footers[file])
            self._statistics_of = file, found
        return self._statistics_of[1]

    def locate(self, groups: IntArray, row: int) -> str:
        """Return 'FILE: row R' (from 0) for a row returned by `read`, for messages."""
        ends = np.cumsum([self.group_rows[group] for group in groups])
        index = int(np.searchsorted(ends, row, side="right"))
        file, group = self._groups[groups[index]]
        before = sum(self._footers[file].row_group(other).num_rows for other in range(group))
        in_group = row - int(ends[index]) + self.group_rows[groups[index]]
        return f"{self._paths[file]}: row {before + in_group} (from 0)"

    def describe(self, groups: IntArray) -> str:
        """Return 'train/part-00000.parquet row groups 3, 5', for messages."""
        return "; ".join(
            f"{self._names[file]} row groups {_listed(of_file)}"
            for file, of_file in self._by_file(groups)
        )

    def _by_file(self, groups: IntArray) -> Iterator[tuple[int, list[int]]]:
        found = (self._groups[group] for group in groups)
        for file, pairs in groupby(found, key=lambda pair: pair[0]):
            yield file, [group for _, group in pairs]


def _footer(path: Path, columns: Mapping[str, pa.DataType]) -> pq.FileMetaData:
    try:
        if not has_file(path):
            raise UserError(f"{path}: listed in schema.json, but does not exist; {AGAIN}")
        footer = read_footer(path)
        found = footer.schema.to_arrow_schema()
        names = found.names
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a Parquet file ({_first_line(error)}); {AGAIN}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({_first_line(error)})") from error
    for name, expected in columns.items():
        if name not in names:
            raise UserError(f"{path}: no column {name!r}; {nearest(name, names)}; {AGAIN}")
        if names.count(name) > 1:
            raise UserError(f"{path}: two columns are named {name!r}; {AGAIN}")
        if not is_castable(found.field(name).type, expected):
            raise UserError(
                f"{path}: column {name!r} is {found.field(name).type}, expected {expected}; {AGAIN}"
            )
    return footer


def _listed(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
