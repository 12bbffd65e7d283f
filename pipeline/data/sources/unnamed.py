"""Names for columns without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.data.sources.files import FileReader, check_names


def with_names(where: str, reader: FileReader) -> FileReader:
    """Return a reader that calls a column without a name column_N, N being its position from 1.

    Raises UserError, starting with `where`, if another column has that name.
    """
    if "" not in reader.schema:
        return reader
    names = [name or f"column_{number}" for number, name in enumerate(reader.schema, 1)]
    check_names(where, names)
    return _Renamed(reader, names)


class _Renamed:
    """Implements `FileReader` under other names of the columns."""

    def __init__(self, reader: FileReader, names: Sequence[str]) -> None:
        self._reader = reader
        self._own = dict(zip(names, reader.schema, strict=True))
        self.schema: Mapping[str, pa.DataType] = dict(
            zip(names, reader.schema.values(), strict=True)
        )
        self.rows, self.sizes, self.line = reader.rows, reader.sizes, reader.line

    def read(self, parts: range, columns: Sequence[str]) -> pa.Table:
        """Read columns of parts."""
        found = self._reader.read(parts, [self._own[name] for name in columns])
        return found.rename_columns(list(columns))
