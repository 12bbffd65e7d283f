"""A table in files of several formats and writers, read by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from threading import Lock

import pyarrow as pa

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.files import Chunk, FileReader, SourceFile
from pipeline.data.sources.formats import open_readers
from pipeline.data.sources.in_threads import in_threads
from pipeline.data.sources.partitions import partition_type
from pipeline.data.sources.resolve import resolve
from pipeline.data.sources.unify import (
    canonical,
    cast,
    check,
    describe,
    is_coded_text,
    settled,
    unify,
)
from pipeline.io.errors import UserError, nearest


def open_table(files: FilesConfig) -> SourceTable:
    """Open the files of a table: reads footers and first lines, and JSON lines once, for the types.

    Raises UserError if there is no file, or a file is damaged.
    """
    found = resolve(files)
    return SourceTable(found, open_readers(found, files))


class SourceTable:
    """Implements `Source` for files.

    Columns are found by name, so that their order may differ between files. Each has one type over
    all files (see `unify`). A column that some file lacks, or has with a type that does not fit, is
    in `faults`, and an error only if it is read.
    """

    def __init__(self, files: tuple[SourceFile, ...], readers: Sequence[FileReader]) -> None:
        """Raises UserError if no file has columns."""
        self.files = files
        self._readers = readers
        self._lock = Lock()
        self._chunks: list[Chunk] | None = None
        self.types: dict[str, pa.DataType] = {}
        self.faults: dict[str, str] = {}
        self.names = _names(files, readers)
        if not self.names:
            raise UserError(f"{files[0].name}: the table has no columns; check the path")
        partitions = {name for file in files for name in file.partitions}
        for name in self.names:
            self._find_type(name, name in partitions)

    def _find_type(self, name: str, is_partition: bool) -> None:
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            self.faults[name] = f"column {name!r}: such a name is a pattern to Polars; rename it"
            return
        common: pa.DataType | None = None
        first = ""
        for file, reader in zip(self.files, self._readers, strict=True):
            if not reader.schema:  # a text file without rows
                continue
            found = self._type_in(file, reader, name, is_partition)
            if isinstance(found, str):
                self.faults[name] = found
                return
            merged = found if common is None else unify(common, found)
            if merged is None:
                assert common is not None
                self.faults[name] = (
                    f"column {name!r} is {describe(common)} in {first} and {describe(found)} in "
                    f"{file.name}; write it with one type"
                )
                return
            if merged != common:
                common, first = merged, file.name
        assert common is not None
        self.types[name] = settled(common)

    def _type_in(
        self, file: SourceFile, reader: FileReader, name: str, is_partition: bool
    ) -> pa.DataType | str:
        """Return the column's type in a file, or what is wrong with it."""
        kind = reader.schema.get(name)
        if kind is not None:
            return canonical(kind) or (
                f"{file.name}: column {name!r} is {kind}, which cannot be read; write a column of "
                "numbers, text, times or lists, or leave it out"
            )
        if file.table_schema is not None and name in file.table_schema:
            return canonical(file.table_schema[name]) or pa.null()
        if is_partition and name in file.partitions:
            return partition_type(
                other.partitions.get(name) for other in self.files if name in other.partitions
            )
        other = next(
            file.name
            for file, reader in zip(self.files, self._readers, strict=True)
            if name in reader.schema or name in file.partitions
        )
        return (
            f"{file.name}: no column {name!r}, which {other} has; add it, or leave one of them out"
        )

    @property
    def chunks(self) -> list[Chunk]:
        """All rows, in order, by part, without empty ones. The first use reads text files once."""
        with self._lock:
            if self._chunks is None:
                self._chunks = list(_chunks(self._readers))
            return self._chunks

    def require(self, columns: Sequence[str]) -> None:
        """Raise UserError if a column does not exist or cannot be read."""
        for name in columns:
            if name in self.faults:
                raise UserError(self.faults[name])
            if name not in self.types:
                raise UserError(
                    f"{self.files[0].name}: no column {name!r}; {nearest(name, self.names)}"
                )

    def read(self, chunk: Chunk, columns: Sequence[str], *, coded: bool = False) -> pa.Table:
        """Read columns of a chunk, in the order asked for."""
        self.require(columns)
        file, reader = self.files[chunk.file], self._readers[chunk.file]
        own = [name for name in columns if name in reader.schema]
        found = reader.read(chunk.parts, own) if own else None
        if found is not None and len(found) != chunk.rows:
            raise UserError(
                f"{file.name}: {len(found)} rows where there were {chunk.rows}; do not change "
                "files while they are read"
            )
        arrays = []
        locate = partial(self.locate, chunk)
        for name in columns:
            if found is not None and name in reader.schema:
                column = check(found[name], name, locate)
            else:
                column = _constant(file.partitions.get(name), chunk.rows)
            if not (coded and is_coded_text(column.type)):
                column = cast(column, self.types[name], name, locate)
            arrays.append(column)
        return pa.table(arrays, names=list(columns))

    def locate(self, chunk: Chunk, row: int) -> str:
        """Return 'FILE: row R (from 0)' for a row of a chunk, in text files with its line."""
        name = self.files[chunk.file].name
        line = self._readers[chunk.file].line(chunk.part, row)
        where = f"{name}: row {chunk.first_row + row} (from 0)"
        return where if line is None else f"{where}, line {line}"


def _names(files: Sequence[SourceFile], readers: Sequence[FileReader]) -> list[str]:
    names: dict[str, None] = {}
    for file, reader in zip(files, readers, strict=True):
        names.update(dict.fromkeys(file.table_schema or ()))
        names.update(dict.fromkeys(reader.schema))
    for file in files:
        names.update(dict.fromkeys(file.partitions))
    return list(names)


def _chunks(readers: Sequence[FileReader]) -> list[Chunk]:
    chunks = []
    for file, counts in enumerate(in_threads(lambda reader: reader.rows(), readers)):
        sizes: Sequence[int | None] = readers[file].sizes() or [None] * len(counts)
        first_row = 0
        for part, (rows, size) in enumerate(zip(counts, sizes, strict=True)):
            if rows:
                chunks.append(Chunk(file, part, first_row, (rows,), size))
            first_row += rows
    return chunks


def _constant(value: str | None, rows: int) -> pa.ChunkedArray:
    array = pa.nulls(rows) if value is None else pa.repeat(pa.scalar(value), rows)
    return pa.chunked_array([array])
