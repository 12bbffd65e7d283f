"""The rows of a log in the order of their times, cut into slices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.table import open_table
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows whose times are in one interval."""

    after_s: float
    """End of the interval, in seconds of the log after its first row."""
    rows: pa.Table


class Log:
    """A log in memory, sorted by time; rows of one time keep their order.

    Args:
        column: of times: a timestamp, date, or number.
        unit_s: seconds of one unit of a column of numbers, .001 for milliseconds.
    """

    def __init__(self, files: FilesConfig, column: str, unit_s: float) -> None:
        """Raises UserError if the column does not exist, or has another type or missing times."""
        source = open_table(files)
        source.require([column])
        names = list(source.types)
        if not source.chunks:
            raise UserError(f"{files.path[0]}: no rows; give files with some")
        rows = pa.concat_tables([source.read(chunk, names) for chunk in source.chunks])
        seconds = _seconds(rows[column], column, unit_s)
        order = np.argsort(seconds, kind="stable")
        self.rows = rows.take(pa.array(order))
        self.seconds = seconds[order] - seconds[order[0]]
        """Of each row after the first one, float64 [rows]."""

    @property
    def length_s(self) -> float:
        """Seconds between the first row and the last."""
        return float(self.seconds[-1])

    def slices(self, every_s: float) -> Iterator[Slice]:
        """Yield the rows of each interval of `every_s` seconds that has some."""
        number = np.floor(self.seconds / every_s).astype(np.int64)
        for part in np.split(np.arange(len(number)), _starts(number)):
            first, count = int(part[0]), len(part)
            yield Slice(float(number[first] + 1) * every_s, self.rows.slice(first, count))


def _starts(number: IntArray) -> IntArray:
    found: IntArray = np.flatnonzero(np.diff(number)) + 1
    return found


def _seconds(column: pa.ChunkedArray, name: str, unit_s: float) -> np.ndarray:
    if column.null_count:
        row = int(pc.index(column.is_null(), True).as_py())
        raise UserError(f"column {name!r}, row {row}: no time; remove such rows")
    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        column = _parsed(column, name)
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        microseconds = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None))).cast(
            pa.int64()
        )
        return np.asarray(microseconds.to_numpy(), dtype=np.float64) / 1e6
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        found = np.asarray(column.to_numpy(), dtype=np.float64) * unit_s
        if not np.isfinite(found).all():
            row = int(np.flatnonzero(~np.isfinite(found))[0])
            raise UserError(f"column {name!r}, row {row}: {found[row]} is no time")
        return found
    raise UserError(f"column {name!r} is {kind}; --time is a column of timestamps or numbers")


def _parsed(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Read text, of which CSV files consist, as numbers or else as timestamps."""
    for kind in (pa.float64(), pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        with suppress(pa.ArrowInvalid):
            return column.cast(kind)
    raise UserError(f"column {name!r} is text that is no time; --time is a column of times")
