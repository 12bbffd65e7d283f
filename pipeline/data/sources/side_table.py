"""A side table in memory, found by key."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import polars as pl
import pyarrow as pa

from pipeline.data.sources.config import JoinConfig
from pipeline.data.sources.key_index import ROW, KeyIndex
from pipeline.data.sources.table import open_table
from pipeline.features.values import text
from pipeline.io.errors import UserError, nearest


class SideTable:
    """Keys are compared as the text of ids: 12 matches '12' and 12.0. Null matches nothing."""

    def __init__(self, join: JoinConfig) -> None:
        """Reads the keys. Raises UserError if they do not exist, are null or not unique."""
        self._table = open_table(join)
        self.files = self._table.files
        self.name = ", ".join(join.path)
        self.keys = tuple(join.keys)
        own = list(join.keys.values())
        for name in own:
            if name not in self._table.names:
                raise UserError(
                    f"{self.name}: no key column {name!r}; {nearest(name, self._table.names)}"
                )
        self._table.require(own)
        self.names = [name for name in self._table.names if name not in own]
        self.types = {name: kind for name, kind in self._table.types.items() if name in self.names}
        self.faults = self._table.faults
        self._lock = Lock()
        self._columns: dict[str, pa.Array] = {}
        self._index = KeyIndex(self._read_keys(own))

    def _read_keys(self, own: Sequence[str]) -> pl.DataFrame:
        schema = pa.schema([(name, self._table.types[name]) for name in own])
        tables = [self._table.read(chunk, own) for chunk in self._table.chunks]
        keys = _as_text(pa.concat_tables([schema.empty_table(), *tables])).with_row_index(ROW)
        keys = keys.drop_nulls()
        repeated = keys.filter(pl.struct(keys.columns[1:]).is_duplicated())
        if len(repeated):
            values = repeated.row(0)[1:]
            same = repeated.filter(
                pl.all_horizontal(pl.col(str(i)) == value for i, value in enumerate(values))
            )
            places = " and ".join(self._locate(row) for row in same[ROW].head(2).to_list())
            shown = ", ".join(f"{n} {v!r}" for n, v in zip(own, values, strict=True))
            raise UserError(f"{places}: both have {shown}; a side table has one row per key")
        return keys

    def _locate(self, row: int) -> str:
        for chunk in self._table.chunks:
            if row < chunk.rows:
                return self._table.locate(chunk, row)
            row -= chunk.rows
        raise IndexError(row)

    def load(self, columns: Sequence[str]) -> None:
        """Read columns into memory that are not there yet."""
        with self._lock:
            missing = [name for name in columns if name not in self._columns]
            if not missing:
                return
            schema = pa.schema([(name, self.types[name]) for name in missing])
            tables = [self._table.read(chunk, missing) for chunk in self._table.chunks]
            table = pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
            for name in missing:
                column = table[name]
                is_text = column.type == pa.large_string()
                self._columns[name] = column.dictionary_encode() if is_text else column

    def find(self, keys: pa.Table) -> pa.Array:
        """Return the row of each key, null where there is none."""
        return self._index.find(_as_text(keys))

    def take(
        self, rows: pa.Array, columns: Sequence[str], *, coded: bool
    ) -> dict[str, pa.ChunkedArray]:
        """Return columns at the rows that `find` returned; with `coded`, text as dictionaries."""
        self.load(columns)
        found = {name: self._columns[name].take(rows) for name in columns}
        return found if coded else {name: one.cast(self.types[name]) for name, one in found.items()}


def _as_text(keys: pa.Table) -> pl.DataFrame:
    """Return key columns as the text that ids have, named by their position."""
    frame = pl.DataFrame(pl.from_arrow(keys))
    return frame.select(
        text(pl.col(name), kind).alias(str(position))
        for position, (name, kind) in enumerate(frame.schema.items())
    )
