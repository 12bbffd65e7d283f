"""Arrow IPC files and streams (Feather version 2): a part is a record batch or rows of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock

import pyarrow as pa
import pyarrow.ipc

from pipeline.data.sources.files import SourceFile, check_names, unreadable

_MAGIC = b"ARROW1"
_PART_ROWS = 2**20
"""Polars writes a whole table as one record batch."""


class ArrowReader:
    """An Arrow file or stream. Reading batch N of a stream passes over those before it."""

    def __init__(self, file: SourceFile) -> None:
        """Raises UserError if it is not an Arrow file."""
        self._file = file
        self._lock = Lock()
        self._parts: list[tuple[int, int, int]] | None = None
        with self._readable(), file.open() as opened:
            self._is_stream = opened.read(len(_MAGIC)) != _MAGIC
            opened.seek(0)
            schema = self._reader(opened).schema
            names = schema.names
        check_names(file.name, names)
        self.schema: Mapping[str, pa.DataType] = dict(zip(names, schema.types, strict=True))

    def rows(self) -> list[int]:
        """Return the number of rows of each part."""
        return [rows for _, _, rows in self._cut()]

    def _cut(self) -> list[tuple[int, int, int]]:
        """Return the record batch of each part, its first row there and its rows."""
        with self._lock:
            if self._parts is None:
                with self._readable(), self._file.open() as opened:
                    # Columns that are not included are neither read nor decompressed.
                    reader = self._reader(opened, [0] if self.schema else None)
                    sizes = [batch.num_rows for batch in _batches(reader)]
                self._parts = [
                    (batch, first, min(_PART_ROWS, size - first))
                    for batch, size in enumerate(sizes)
                    for first in range(0, size, _PART_ROWS)
                ]
            return self._parts

    def sizes(self) -> None:
        """Parts are read one by one."""

    def read(self, parts: range, columns: Sequence[str]) -> pa.Table:
        """Read columns of a part."""
        (part,) = parts
        number, first, rows = self._cut()[part]
        positions = {name: index for index, name in enumerate(self.schema)}
        with self._readable(), self._file.open() as opened:
            reader = self._reader(opened, sorted(positions[name] for name in columns))
            if self._is_stream:
                batch = next(batch for index, batch in enumerate(reader) if index == number)
            else:
                batch = reader.get_batch(number)
            return pa.Table.from_batches([batch.slice(first, rows)]).select(list(columns))

    def line(self, part: int, row: int) -> None:
        """Arrow files have no lines."""

    def _reader(
        self, opened: pa.NativeFile, fields: list[int] | None = None
    ) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        read = pa.ipc.open_stream if self._is_stream else pa.ipc.open_file
        return read(opened, options=options)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise unreadable(self._file.name, "Arrow", error) from error


def _batches(
    reader: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader,
) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.ipc.RecordBatchStreamReader):
        yield from reader
    else:
        yield from map(reader.get_batch, range(reader.num_record_batches))
