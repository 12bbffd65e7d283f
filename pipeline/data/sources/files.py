"""What a table of files consists of: its files and its chunks of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from pipeline.io.errors import UserError

if TYPE_CHECKING:
    from pipeline.data.sources.stores import Store


@dataclass(frozen=True)
class SourceFile:
    """A file, equal to another one of the same name and size."""

    name: str
    """Path or address, for messages and to tell files apart."""
    size: int
    """Bytes."""
    store: Store = field(repr=False, compare=False)
    path: str = field(repr=False, compare=False)
    """Path in the store."""
    partitions: Mapping[str, str | None] = field(default_factory=dict, repr=False, compare=False)
    """Columns whose value is in the path and the same in all rows."""
    table_schema: Mapping[str, pa.DataType] | None = field(default=None, repr=False, compare=False)
    """Columns of a Delta table, which are null in files without them; None for other files."""

    def open(self) -> pa.NativeFile:
        """Open the file for random access. Raises OSError."""
        return self.store.open(self.path)


@dataclass(frozen=True)
class Chunk:
    """Rows that are read together: one or more parts of a file.

    A part is a Parquet row group, an Arrow record batch, or 16 MB of text.
    """

    file: int
    part: int
    """Number in the file of the first part, from 0."""
    first_row: int
    """Number in the file of the first row, from 0."""
    part_rows: tuple[int, ...]
    """Rows of each part, at least one."""
    size: int | None = None
    """Uncompressed bytes, if they are known before reading."""

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(self.part_rows)

    @property
    def parts(self) -> range:
        """Numbers of the parts in the file."""
        return range(self.part, self.part + len(self.part_rows))


class FileReader(Protocol):
    """One file of any format. Safe to use from several threads."""

    @property
    def schema(self) -> Mapping[str, pa.DataType]:
        """Columns with the types of the file."""

    def rows(self) -> Sequence[int]:
        """Return the number of rows of each part."""

    def sizes(self) -> Sequence[int] | None:
        """Return the uncompressed bytes of each part; None if parts are only read one by one."""

    def read(self, parts: range, columns: Sequence[str]) -> pa.Table:
        """Read some columns of parts, in any order and with the file's types.

        Text may come as dictionaries.
        """

    def line(self, part: int, row: int) -> int | None:
        """Return the line (from 1) of a row of a part, if the file is text."""


class Source(Protocol):
    """A table: one of files, or with side tables joined to it."""

    @property
    def names(self) -> list[str]:
        """All columns, in the order of the files."""

    @property
    def types(self) -> Mapping[str, pa.DataType]:
        """Type of each column that can be read."""

    @property
    def faults(self) -> Mapping[str, str]:
        """Columns that cannot be read, and why: one line each."""

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """Files of the rows, in row order."""

    @property
    def chunks(self) -> list[Chunk]:
        """All rows, in order, by part. The first use reads text files once, to count rows."""

    def require(self, columns: Sequence[str]) -> None:
        """Raise UserError if a column does not exist or cannot be read."""

    def read(self, chunk: Chunk, columns: Sequence[str], *, coded: bool = False) -> pa.Table:
        """Read columns of a chunk, in the order asked for; with `coded`, text may come as
        dictionaries. Safe to use from several threads."""

    def locate(self, chunk: Chunk, row: int) -> str:
        """Return 'FILE: row R (from 0)' for a row of a chunk, in text files with its line."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 240 characters."""
    return (str(error) or type(error).__name__).splitlines()[0][:240]


def unreadable(name: str, format: str, error: Exception) -> UserError:
    """Return the error for a file that `format` cannot open."""
    if isinstance(error, OSError) and error.errno:  # not found, not permitted
        return UserError(f"{name}: cannot be read ({error.strerror}); check the file")
    return UserError(
        f"{name}: not a complete {format} file ({first_line(error)}); write it again, or remove it"
    )


def check_names(where: str, names: Sequence[str]) -> None:
    """Raise UserError, starting with `where`, if two columns have one name."""
    name, count = Counter(names).most_common(1)[0] if names else ("", 1)
    if count > 1:
        raise UserError(f"{where}: {count} columns are named {name!r}; rename all but one")
