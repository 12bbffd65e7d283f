"""Finds the separator and the header of CSV files in their first lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.files import check_names
from pipeline.data.sources.text.parts import csv_row_ends, line_ends, rows_between
from pipeline.data.sources.text.text_file import TextFile
from pipeline.io.errors import UserError

_SEPARATORS = ",;\t|"
_SAMPLE_BYTES = 256 * 2**10
_LONGEST_HEADER = 16 * 2**20
_SAMPLE_ROWS = 100
_DATA = re.compile(
    r"\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|\d{4}-\d\d?-\d\d?([ T].*)?)\s*", re.ASCII
)
"""Numbers, dates and times, which no header has."""


@dataclass(frozen=True)
class Head:
    """The first row of a file, its first rows, and where the data starts."""

    names: tuple[str, ...]
    start: int
    """Byte of the first row of data."""
    line: int
    """Its line, from 1."""
    repeated: str | None
    """A name that several columns have in the header."""


@dataclass(frozen=True)
class Dialect:
    """What the files of a table have in common."""

    separator: str
    header: bool


def find_dialect(text: TextFile, config: FilesConfig) -> Dialect | None:
    """Find the separator and whether there is a header; None for a file without rows.

    Separator: of comma, semicolon, tab and bar the one that cuts the most of the first 100 rows
    into as many fields as the first row, if more than one; a comma if there is none. Header: the
    first row is one unless it contains a number or a date; with `names`, only if it consists of
    these.
    """
    sample, complete = _sample(text)
    if config.separator is not None:
        separator = config.separator
    else:
        separator = max(_SEPARATORS, key=lambda each: _score(sample, each, complete))
    rows = _rows(sample, separator, complete, 1)
    if not rows:
        return None
    if config.header is not None:
        return Dialect(separator, config.header)
    if config.names:
        return Dialect(separator, tuple(rows[0]) == config.names)
    return Dialect(separator, not any(_DATA.fullmatch(cell) for cell in rows[0]))


def looks_like_csv(text: TextFile) -> bool:
    """Whether a separator cuts all of the first 100 rows into as many fields, at least two."""
    sample, complete = _sample(text)
    if b"\0" in sample:
        return False
    rows = len(_rows(sample, _SEPARATORS[0], complete, _SAMPLE_ROWS))
    return any(_score(sample, each, complete)[0] == rows > 0 for each in _SEPARATORS)


def read_head(text: TextFile, dialect: Dialect, names: Sequence[str]) -> Head | None:
    """Read the columns of a file; None if it has no rows. Raises UserError.

    A column without a name is column_N, N being its position from 1. Further columns of one name
    are NAME.1, NAME.2 and so on, unless there are such ones.
    """
    sample, complete = _sample(text)
    bom = len(codecs.BOM_UTF8) if sample.startswith(codecs.BOM_UTF8) else 0
    data = np.frombuffer(sample, dtype=np.uint8)[bom:]
    starts, ends = rows_between(data, csv_row_ends(ord(dialect.separator))(data))
    if not len(starts):
        return None
    cells = _rows(sample, dialect.separator, complete, 1)[0]
    first = int(starts[0])
    if dialect.header:
        first = int(ends[0])
    line = 1 + len(line_ends(data[:first]))
    found = cells if dialect.header else [""] * len(cells)
    if names and len(names) != len(cells):
        raise UserError(
            f"{text.name}: line {line}: {len(cells)} fields, but names has "
            f"{len(names)}; name each column"
        )
    columns = [name or f"column_{number}" for number, name in enumerate(names or found, 1)]
    if names:
        check_names(f"{text.name}: names", columns)
    distinct = tuple(_distinct(columns))
    pairs = zip(columns, distinct, strict=True)
    repeated = next((name for name, found in pairs if name != found), None)
    return Head(distinct, bom + first, line, repeated)


def _distinct(names: Sequence[str]) -> Iterator[str]:
    taken = set(names)
    seen: set[str] = set()
    for name in names:
        found = name
        if name in seen:
            found = next(one for n in count(1) if (one := f"{name}.{n}") not in taken)
        seen.add(found)
        taken.add(found)
        yield found


def _sample(text: TextFile) -> tuple[bytes, bool]:
    """Return the start of a file, with at least one row, and whether it is the whole file."""
    sample = b""
    blocks = text.blocks(0, _SAMPLE_BYTES)
    for block in blocks:
        sample += block
        if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UserError(f"{text.name}: is UTF-16; convert it to UTF-8")
        if len(sample) < _SAMPLE_BYTES:
            continue
        array = np.frombuffer(sample, dtype=np.uint8)
        if len(csv_row_ends(ord(","))(array)) > 1 or len(sample) > _LONGEST_HEADER:
            return sample, False
    return sample, True


def _score(sample: bytes, separator: str, complete: bool) -> tuple[int, int]:
    """Return the number of rows with as many fields as the first one, and that number."""
    counts = [len(row) for row in _rows(sample, separator, complete, _SAMPLE_ROWS)]
    if not counts or counts[0] == 1:
        return 0, 0
    return counts.count(counts[0]), counts[0]


def _rows(sample: bytes, separator: str, complete: bool, limit: int) -> list[list[str]]:
    """Return the first rows that are not empty lines; the last one only if it is complete."""
    data = np.frombuffer(sample.removeprefix(codecs.BOM_UTF8), dtype=np.uint8)
    starts, ends = rows_between(data, csv_row_ends(ord(separator))(data))
    if not complete and len(starts) > 1:
        starts, ends = starts[:-1], ends[:-1]
    rows: list[list[str]] = []
    for start, end in zip(starts[:limit].tolist(), ends[:limit].tolist(), strict=True):
        line = data[start:end].tobytes().decode("utf-8", errors="replace")
        try:
            rows.extend(csv.reader(io.StringIO(line, newline=""), delimiter=separator))
        except csv.Error:  # a field of more than 128 kB
            rows.append([line])
    return rows
