"""Reads, checks and encodes this rank's rows of a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from pipeline.data.columns import Columns
from pipeline.data.rows import Rows
from pipeline.data.sources.config import Format
from pipeline.data.stream.log import Log
from pipeline.data.stream.window import Slice, Window
from pipeline.data.table.encoded import encode
from pipeline.data.table.folder import TableFile
from pipeline.data.table.table_rows import Table
from pipeline.features.distinct import Rows as RawRows
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError


@dataclass(frozen=True, slots=True)
class WindowRows:
    """A decoded window."""

    window: Window
    batches: list[Rows]
    """This rank's rows of each step."""
    bad_rows: int
    """Rows of all ranks that were left out, and messages without a value."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Good rows of a chunk."""

    table: Table
    file: str
    frame: pl.DataFrame
    numbers: IntArray
    """Number in the file of each row."""


class WindowReader:
    """Decodes windows as a prepared folder's program says.

    Step n of a window has its good rows n * G to (n + 1) * G, in the order of the log, where G is
    the global batch; each rank takes its share of them, so batches do not depend on the number of
    ranks. Every rank reads all rows, and encodes its own. If rows are left out, the last batch is
    padded with rows of weight 0.
    """

    def __init__(
        self,
        record: TableFile,
        folder: Path,
        columns: Columns,
        log: Log,
        *,
        batch_size: int,
        rank: int,
        world_size: int,
    ) -> None:
        """`batch_size`: rows per rank and step. Raises UserError if a vocabulary is damaged."""
        self._spec = record.spec
        self._fitted = record.fitted(folder)
        self._columns = columns
        self._log = log
        self._per_rank = batch_size
        self._rank = rank
        self._world_size = world_size

    def read(self, window: Window) -> WindowRows:
        """Decode a window. Raises UserError, naming file, row and column, for an invalid value; and
        if a file has changed."""
        parts: list[Rows] = []
        good = 0
        spare: _Part | None = None
        for part in self._parts(window):
            if spare is None and len(part.frame):
                spare = part
            in_step = (good + np.arange(len(part.frame))) % (self._per_rank * self._world_size)
            good += len(part.frame)
            mine = in_step // self._per_rank == self._rank
            if mine.any():
                parts.append(self._decode(part, mine))
        batches: list[Rows] = []
        if spare is not None:
            steps = -(-good // (self._per_rank * self._world_size))
            missing = steps * self._per_rank - sum(map(len, parts))
            if missing:
                parts.append(self._padding(spare, missing))
            batches = Rows.join(parts).split([self._per_rank] * steps)
        return WindowRows(window, batches, window.rows - good)

    def _parts(self, window: Window) -> Iterator[_Part]:
        """Yield the good rows of a window by chunk."""
        with TemporaryDirectory(prefix="homerec-window-") as folder:
            # Messages have no file; errors name this one, whose rows follow the slices.
            partitions = "-".join(f"{part.file}from{part.first}" for part in window.slices[:9])
            path = Path(folder) / f"partition-{partitions}.jsonl"
            if not self._log.fetch(window, path):
                for part in window.slices:
                    yield from self._rows(part, self._open(part))
            elif path.stat().st_size:
                part = Slice(file=str(path), size=path.stat().st_size, first=0, rows=window.rows)
                yield from self._rows(part, self._open(part, format="jsonl"))

    def _rows(self, part: Slice, table: Table) -> Iterator[_Part]:
        first = 0
        for index, chunk in enumerate(table.chunks):
            start, stop = first, first + chunk.rows
            first = stop
            if stop <= part.first or start >= part.first + part.rows:
                continue
            found = table.check(index)
            if found.num_bad and self._spec.on_bad_row == "stop":
                _, fault = found.faults[0]
                raise UserError(f"{fault} (or leave out such rows: data.on_bad_row skip)")
            kept = (found.numbers >= part.first) & (found.numbers < part.first + part.rows)
            frame = found.frame.filter(pl.Series(kept))
            yield _Part(table, part.file, frame, found.numbers[kept])

    def _open(self, part: Slice, format: Format | None = None) -> Table:
        """Open a file as a table of its own."""
        source = self._spec.source.model_copy(update={"path": (part.file,)})
        if format is not None:
            source = source.model_copy(update={"format": format})
        table = Table(
            self._spec.model_copy(update={"source": source}), max_rows=self._spec.rows_per_group
        )
        (file,) = table.source.files
        if file.size != part.size:
            raise UserError(
                f"{part.file}: has {file.size} bytes, not {part.size} as when its rows were "
                "counted; write new rows to new files, and restore this one"
            )
        return table

    def _decode(self, part: _Part, mine: np.ndarray) -> Rows:
        frame = part.frame.filter(pl.Series(mine))
        numbers = part.numbers[mine]
        encoded = encode(part.table, self._fitted, RawRows(frame))
        weights = np.ones(len(frame), dtype=np.float32)
        locate = partial(_locate, part.file, numbers)
        return self._columns.decode(encoded, np.arange(len(frame)), weights, locate)

    def _padding(self, part: _Part, count: int) -> Rows:
        """Return `count` rows of weight 0, copies of a row."""
        encoded = encode(part.table, self._fitted, RawRows(part.frame.head(1)))
        weights = np.zeros(count, dtype=np.float32)
        locate = partial(_locate, part.file, part.numbers)
        return self._columns.decode(encoded, np.zeros(count, dtype=np.int64), weights, locate)


def _locate(file: str, numbers: IntArray, row: int) -> str:
    return f"{file}: row {numbers[row]} (from 0)"
