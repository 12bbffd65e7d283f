"""Cuts text files into parts of whole rows, without parsing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.sources.text.text_file import TextFile
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError

PART_BYTES = 16 * 2**20
LONGEST_ROW = 256 * 2**20
_LF, _CR, _QUOTE = b'\n\r"'

Bytes = npt.NDArray[np.uint8]
RowEnds = Callable[[Bytes], IntArray]
"""Returns the ends of the rows of a text that starts with a row: offsets behind line breaks."""


@dataclass(frozen=True)
class Part:
    """A range of bytes with whole rows."""

    start: int
    size: int
    rows: int
    first_line: int
    """Line of its first row, from 1."""


def line_ends(data: Bytes) -> IntArray:
    """Return the offsets behind the line breaks: LF, CR LF, and CR, like the parsers."""
    is_end = data == _LF
    is_cr = data == _CR
    if is_cr.any():
        is_cr[:-1] &= ~is_end[1:]
        is_end |= is_cr
    return np.flatnonzero(is_end) + 1


def csv_row_ends(separator: int) -> RowEnds:
    """Return the function that finds the line breaks outside of quotes."""

    def ends(data: Bytes) -> IntArray:
        lines = line_ends(data)
        quotes = np.flatnonzero(data == _QUOTE)
        if not len(quotes):
            return lines
        if not _are_regular(data, quotes, separator):
            quotes = _effective(data, quotes, separator)
        return lines[np.searchsorted(quotes, lines) % 2 == 0]

    return ends


def _are_regular(data: Bytes, quotes: IntArray, separator: int) -> bool:
    """Whether quotes surround fields or are doubled within these, so that they open and close in
    turn."""
    around = np.zeros(256, dtype=bool)
    around[[separator, _LF, _CR, _QUOTE]] = True
    opening, closing = quotes[::2], quotes[1::2]
    before, behind = opening[opening > 0] - 1, closing[closing < len(data) - 1] + 1
    return bool(around[data[before]].all() and around[data[behind]].all())


def _effective(data: Bytes, quotes: IntArray, separator: int) -> IntArray:
    """Return the quotes that open or close a field; the others, as in 5" screen, are text."""
    starts = {separator, _LF, _CR}
    found: list[int] = []
    is_open = False
    skip = -1
    known = set(quotes.tolist())
    for quote in quotes.tolist():
        if quote == skip:
            continue
        if not is_open and (quote == 0 or int(data[quote - 1]) in starts):
            is_open = True
            found.append(quote)
        elif is_open and quote + 1 in known:
            skip = quote + 1
        elif is_open:
            is_open = False
            found.append(quote)
    return np.array(found, dtype=np.int64)


def rows_between(data: Bytes, ends: IntArray) -> tuple[IntArray, IntArray]:
    """Return the starts and ends of the rows that are not empty lines; `data` ends with a row."""
    if len(data) and (not len(ends) or ends[-1] < len(data)):
        ends = np.append(ends, len(data))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])[: len(ends)]
    first = data[starts]
    kept = (first != _LF) & (first != _CR)
    return starts[kept], ends[kept]


def cut(
    text: TextFile,
    start: int,
    first_line: int,
    row_ends: RowEnds,
    count: Callable[[Bytes, IntArray], int],
) -> Iterator[tuple[Part, bytes]]:
    """Return parts of about 16 MB with their bytes, from byte `start`, in line `first_line`.

    `count` returns the number of rows of a part. Raises UserError for a row that is too long.
    """
    rest = b""
    for block in text.blocks(start, PART_BYTES):
        data = rest + block
        array = np.frombuffer(data, dtype=np.uint8)
        ends = row_ends(array)
        if len(ends) and ends[-1] == len(data) and data[-1] == _CR:
            ends = ends[:-1]  # the other half of the line break may follow
        if not len(ends):
            if len(data) > LONGEST_ROW:
                raise UserError(
                    f"{text.name}: line {first_line}: the row has more than {LONGEST_ROW} "
                    "bytes; is a quote not closed?"
                )
            rest = data
            continue
        end = int(ends[-1])
        part = Part(start, end, count(array[:end], ends), first_line)
        yield part, data[:end]
        start += end
        first_line += len(line_ends(array[:end]))
        rest = data[end:]
    if rest:
        array = np.frombuffer(rest + b"\n", dtype=np.uint8)
        if row_ends(array)[-1:].tolist() != [len(array)]:
            raise UserError(
                f"{text.name}: line {first_line}: a quote is not closed until the end of the file; "
                "correct the row"
            )
        array = array[:-1]
        yield Part(start, len(rest), count(array, row_ends(array)), first_line), rest
