"""CSV files: a part is about 16 MB of text, and all columns are text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipeline.data.sources.files import SourceFile, first_line
from pipeline.data.sources.text.csv_dialect import Dialect, read_head
from pipeline.data.sources.text.parts import Part, csv_row_ends, cut, line_ends, rows_between
from pipeline.data.sources.text.text_file import TextFile
from pipeline.io.errors import UserError


class CsvReader:
    """A CSV file as in RFC 4180. Empty lines are skipped; a file without rows has no columns."""

    def __init__(
        self, file: SourceFile, dialect: Dialect, names: Sequence[str], null_values: Sequence[str]
    ) -> None:
        """Reads the first lines. Raises UserError."""
        self._text = TextFile(file)
        self._separator = dialect.separator
        self._row_ends = csv_row_ends(ord(dialect.separator))
        self._null_values = list(null_values)
        self._head = read_head(self._text, dialect, names)
        columns = self._head.names if self._head else ()
        self.schema: Mapping[str, pa.DataType] = dict.fromkeys(columns, pa.large_string())
        self.repeated = self._head.repeated if self._head else None
        """A name that several columns have in the header."""
        self._lock = Lock()
        self._parts: list[Part] | None = None

    def rows(self) -> list[int]:
        """Return the number of rows of each part. The first call reads the file."""
        return [part.rows for part in self._cut()]

    def _cut(self) -> list[Part]:
        with self._lock:
            if self._parts is None and self._head is None:
                self._parts = []
            elif self._parts is None and self._head is not None:
                found = cut(
                    self._text,
                    self._head.start,
                    self._head.line,
                    self._row_ends,
                    lambda data, ends: len(rows_between(data, ends)[0]),
                )
                self._parts = [part for part, _ in found]
            assert self._parts is not None
            return self._parts

    def sizes(self) -> None:
        """Parts are read one by one."""

    def read(self, parts: range, columns: Sequence[str]) -> pa.Table:
        """Read columns of a part."""
        (part,) = parts
        found = self._cut()[part]
        data = self._text.read(found.start, found.size)
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(data),
                read_options=pa.csv.ReadOptions(
                    column_names=list(self.schema), block_size=len(data) + 1, use_threads=False
                ),
                parse_options=pa.csv.ParseOptions(
                    delimiter=self._separator, newlines_in_values=True
                ),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict(self.schema),
                    include_columns=list(columns),
                    null_values=self._null_values,
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            raise self._fault(found, data, first_line(error)) from error
        if len(table) != found.rows:
            raise self._fault(found, data, f"{len(table)} rows instead of {found.rows}")
        return table

    def line(self, part: int, row: int) -> int:
        """Return the line of a row, from 1."""
        found = self._cut()[part]
        array = np.frombuffer(self._text.read(found.start, found.size), dtype=np.uint8)
        start = int(rows_between(array, self._row_ends(array))[0][row])
        return found.first_line + len(line_ends(array[:start]))

    def _fault(self, part: Part, data: bytes, reason: str) -> UserError:
        """Return the error for the first row that is not UTF-8, or has more or fewer fields."""
        array = np.frombuffer(data, dtype=np.uint8)
        starts, ends = rows_between(array, self._row_ends(array))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if reason_here := self._row_fault(data[start:end]):
                line = part.first_line + len(line_ends(array[:start]))
                return UserError(f"{self._text.name}: line {line}: {reason_here}")
        return UserError(f"{self._text.name}: line {part.first_line}: {reason}; correct the file")

    def _row_fault(self, row: bytes) -> str | None:
        try:
            text = row.decode()
            fields = next(csv.reader(io.StringIO(text, newline=""), delimiter=self._separator))
        except UnicodeDecodeError as error:
            return f"not UTF-8: byte 0x{row[error.start]:02x}; convert the file to UTF-8"
        except csv.Error:  # a field of more than 128 kB
            return None
        if len(fields) == len(self.schema):
            return None
        return (
            f"{len(fields)} fields, but the first row has {len(self.schema)}; correct or remove "
            "the line, or set the separator"
        )
