"""Arrow IPC files and streams (Feather version 2): a part is a record batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.ipc

from pipeline.data.sources.files import SourceFile, check_names, first_line
from pipeline.io.errors import UserError

_MAGIC = b"ARROW1"


class ArrowReader:
    """An Arrow file or stream. Reading batch N of a stream passes over those before it."""

    def __init__(self, file: SourceFile) -> None:
        """Raises UserError if it is not an Arrow file."""
        self._file = file
        self._rows: list[int] | None = None
        with self._readable(), file.open() as opened:
            self._is_stream = opened.read(len(_MAGIC)) != _MAGIC
            opened.seek(0)
            schema = self._reader(opened).schema
        check_names(file.name, schema.names)
        self.schema: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def rows(self) -> list[int]:
        """Return the number of rows of each record batch."""
        if self._rows is None:
            with self._readable(), self._file.open() as opened:
                # Columns of other batches are neither read nor decompressed.
                reader = self._reader(opened, [0] if self.schema else None)
                self._rows = [batch.num_rows for batch in _batches(reader)]
        return self._rows

    def read(self, part: int, columns: Sequence[str]) -> pa.Table:
        """Read columns of a record batch."""
        positions = {name: index for index, name in enumerate(self.schema)}
        with self._readable(), self._file.open() as opened:
            reader = self._reader(opened, sorted(positions[name] for name in columns))
            if self._is_stream:
                batch = next(batch for index, batch in enumerate(reader) if index == part)
            else:
                batch = reader.get_batch(part)
            return pa.Table.from_batches([batch]).select(list(columns))

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
            raise UserError(
                f"{self._file.name}: not a complete Arrow file ({first_line(error)}); write it "
                "again, or remove it"
            ) from error


def _batches(
    reader: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader,
) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.ipc.RecordBatchStreamReader):
        yield from reader
    else:
        yield from map(reader.get_batch, range(reader.num_record_batches))
