"""Engines: where the chunks of a table are read, counted and encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.data.prefetch import in_order
from pipeline.data.schema import SPLITS
from pipeline.data.table.encoded import encode_chunk
from pipeline.data.table.split_writer import SplitWriter
from pipeline.data.table.table_rows import Table
from pipeline.features.fitted import Fitted

Out = TypeVar("Out")
WORKERS = 2
"""Threads that read ahead; Polars has its own."""

Progress = Callable[[int, int, str], None]
"""Called with rows done, all rows, and what is done."""


class Engine(Protocol):
    """Runs functions on chunks; results do not depend on the engine."""

    def over_chunks(
        self,
        table: Table,
        work: Callable[[Table, Sequence[int]], Out],
        what: str,
        progress: Progress,
    ) -> Iterator[Out]:
        """Yield the results of `work` for runs of chunks, in order. Raises its UserError."""
        ...

    def write(
        self,
        table: Table,
        fitted: Fitted,
        folder: Path,
        rows: NDArray[np.int64],
        progress: Progress,
    ) -> list[list[str]]:
        """Write the encoded rows; returns the files of each split.

        `folder` has the files of `save_table`; `rows`: rows of each split by chunk, [chunks, 3].
        """
        ...


class LocalEngine:
    """Implements `Engine` with threads."""

    def over_chunks(
        self,
        table: Table,
        work: Callable[[Table, Sequence[int]], Out],
        what: str,
        progress: Progress,
    ) -> Iterator[Out]:
        done = 0
        tasks = (partial(work, table, [index]) for index in range(len(table.chunks)))
        for chunk, result in zip(table.chunks, in_order(tasks, WORKERS), strict=True):
            yield result
            done += chunk.rows
            progress(done, table.rows, what)

    def write(
        self,
        table: Table,
        fitted: Fitted,
        folder: Path,
        rows: NDArray[np.int64],
        progress: Progress,
    ) -> list[list[str]]:
        writers = [SplitWriter(folder, split, table) for split in SPLITS]

        def encode(table: Table, chunks: Sequence[int]) -> list[pa.Table]:
            (index,) = chunks
            return encode_chunk(table, fitted, index)

        for parts in self.over_chunks(table, encode, "encoding", progress):
            for writer, part in zip(writers, parts, strict=True):
                writer.add(part)
        return [writer.close() for writer in writers]
