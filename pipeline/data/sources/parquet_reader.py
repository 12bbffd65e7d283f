"""Parquet files: a part is a row group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.sources.files import SourceFile, check_names, first_line, unreadable
from pipeline.data.sources.unify import canonical
from pipeline.io.errors import UserError


class ParquetReader:
    """A Parquet file. Its footer is read once; the file is opened for every read."""

    def __init__(self, file: SourceFile) -> None:
        """Raises UserError if it is not a Parquet file."""
        self._file = file
        self._footer: pq.FileMetaData | None = None
        try:
            with self._open() as parquet:
                schema = parquet.schema_arrow
                self._footer = parquet.metadata
                names = schema.names
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file.name}: the name of a column is not UTF-8; write the file again"
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise unreadable(file.name, "Parquet", error) from error
        check_names(file.name, names)
        self.schema: Mapping[str, pa.DataType] = dict(zip(names, schema.types, strict=True))
        self._text = [n for n, kind in self.schema.items() if canonical(kind) == pa.large_string()]

    @contextmanager
    def _open(self, text: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
        with (
            self._file.open() as opened,
            pq.ParquetFile(
                opened,
                metadata=self._footer,
                # What Spark writes; nanoseconds would overflow after the year 2262.
                coerce_int96_timestamp_unit="us",
                read_dictionary=list(text),
            ) as parquet,
        ):
            yield parquet

    def rows(self) -> list[int]:
        """Return the number of rows of each row group."""
        assert self._footer is not None
        groups = range(self._footer.num_row_groups)
        return [self._footer.row_group(group).num_rows for group in groups]

    def sizes(self) -> list[int]:
        """Return the uncompressed bytes of each row group, of all columns."""
        assert self._footer is not None
        groups = range(self._footer.num_row_groups)
        return [self._footer.row_group(group).total_byte_size for group in groups]

    def read(self, parts: range, columns: Sequence[str]) -> pa.Table:
        """Read columns of row groups; text as dictionaries, as it mostly is in the file."""
        try:
            with self._open(self._text) as parquet:
                table = parquet.read_row_groups(
                    list(parts), columns=list(columns), use_threads=False
                )
        except (pa.ArrowException, OSError) as error:
            if len(parts) > 1:
                for part in parts:  # raises for the first damaged one
                    self.read(range(part, part + 1), columns)
            until = f" to {parts[-1]}" if len(parts) > 1 else ""
            raise UserError(
                f"{self._file.name}: row group {parts[0]}{until} cannot be read "
                f"({first_line(error)}); write the file again"
            ) from error
        return table.select(list(columns))

    def line(self, part: int, row: int) -> None:
        """Parquet has no lines."""
