"""Side tables, joined to each row by key."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from pipeline.data.sources.config import FilesConfig, JoinConfig
from pipeline.data.sources.files import Chunk, SourceFile
from pipeline.data.sources.side_table import SideTable
from pipeline.data.sources.table import SourceTable, open_table
from pipeline.io.errors import UserError, nearest


def open_joined(log: FilesConfig, joins: Sequence[JoinConfig]) -> JoinedTable:
    """Open a table and its side tables.

    Raises UserError if a key column does not exist or the keys of a side table are not unique.
    """
    return JoinedTable(open_table(log), [SideTable(join) for join in joins])


class JoinedTable:
    """Implements `Source`: a table with the columns of the side tables.

    Rows whose key is not in a side table have nulls there. A key may also be a column of a side
    table before it. Side tables are kept in memory, with the columns that have been read.
    """

    def __init__(self, log: SourceTable, sides: Sequence[SideTable]) -> None:
        self._log = log
        self._sides = sides
        self.files = log.files
        self.types = dict(log.types)
        self.faults = dict(log.faults)
        self._from: dict[str, SideTable] = {}
        for side in sides:
            for key in side.keys:
                self._require([key], f"; it is a key of {side.name}")
            self._add_columns(side)
        self.names = [*log.names, *self._from]
        self._missed: dict[tuple[str, Chunk], int] = {}

    def _add_columns(self, side: SideTable) -> None:
        for name in side.names:
            if name in self.types or name in self.faults:
                other = self._from[name].name if name in self._from else self.files[0].name
                self.types.pop(name, None)
                self.faults[name] = (
                    f"column {name!r} is in {other} and in {side.name}; rename it in one of them"
                )
                continue
            self._from[name] = side
            if name in side.types:
                self.types[name] = side.types[name]
            else:
                self.faults[name] = side.faults[name]

    @property
    def side_files(self) -> tuple[SourceFile, ...]:
        """Files of the side tables."""
        return tuple(file for side in self._sides for file in side.files)

    @property
    def chunks(self) -> list[Chunk]:
        """All rows, in order."""
        return self._log.chunks

    @property
    def misses(self) -> dict[str, int]:
        """Rows whose key is not in a side table, by its name, among the chunks read so far."""
        counts = {side.name: 0 for side in self._sides}
        for (name, _), count in list(self._missed.items()):
            counts[name] += count
        return counts

    def require(self, columns: Sequence[str]) -> None:
        """Raise UserError if a column does not exist or cannot be read; load side tables."""
        self._require(columns)
        for side in self._sides:
            side.load([name for name in columns if self._from.get(name) is side])

    def _require(self, columns: Sequence[str], use: str = "") -> None:
        for name in columns:
            if name in self.faults:
                raise UserError(self.faults[name] + use)
            if name not in self.types:
                known = nearest(name, list(self.types))
                raise UserError(f"{self.files[0].name}: no column {name!r}{use}; {known}")

    def read(self, chunk: Chunk, columns: Sequence[str], *, coded: bool = False) -> pa.Table:
        """Read columns of a chunk, in the order asked for."""
        self.require(columns)
        needed = dict.fromkeys(columns)
        used: list[SideTable] = []
        for side in reversed(self._sides):  # a later one may need the columns of one before
            if any(self._from.get(name) is side for name in needed):
                used.insert(0, side)
                needed.update(dict.fromkeys(side.keys))
        log = [name for name in needed if name not in self._from]
        table = self._log.read(chunk, log, coded=coded)
        for side in used:
            wanted = [name for name in needed if self._from.get(name) is side]
            rows = side.find(table.select(list(side.keys)))
            self._missed[side.name, chunk] = rows.null_count
            found = side.take(rows, wanted, coded=coded)
            for name in wanted:
                table = table.append_column(name, found[name])
        return table.select(list(columns))

    def locate(self, chunk: Chunk, row: int) -> str:
        """Return 'FILE: row R (from 0)' for a row of a chunk, in text files with its line."""
        return self._log.locate(chunk, row)
