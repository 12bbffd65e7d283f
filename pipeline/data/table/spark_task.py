"""What a task of the Spark engine does, in a process of the cluster."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.schema import SPLITS
from pipeline.data.table.blocks import Blocks
from pipeline.data.table.encoded import encode_split
from pipeline.data.table.folder import FileRecord, load_table, records
from pipeline.data.table.spec import TableSpec
from pipeline.data.table.split_writer import GROUPS_PER_FILE, SplitWriter
from pipeline.data.table.table_rows import Table
from pipeline.features.fitted import Fitted
from pipeline.io.errors import UserError


@dataclass(frozen=True)
class Count:
    """Runs a function on a run of chunks."""

    work: Callable[[Table, Sequence[int]], Any]
    runs: Sequence[Sequence[int]]
    """Chunks of each task."""

    def __call__(self, table: Table, task: int) -> Any:
        return self.work(table, self.runs[task])


@dataclass(frozen=True)
class Write:
    """Writes one file of a split."""

    folder: Path
    rows: NDArray[np.int64]
    """Of each split by chunk, [chunks, 3]."""
    files: Sequence[tuple[int, int]]
    """Split and number of the file of each task."""

    def __call__(self, table: Table, task: int) -> int:
        split, number = self.files[task]
        fitted = _fitted(self.folder)
        writer = SplitWriter(self.folder, SPLITS[split], table, number)
        blocks = Blocks(self.rows[:, split], table.spec.rows_per_group * GROUPS_PER_FILE)
        for part in blocks.slices(number):
            found = encode_split(table, fitted, part.chunk, split)
            writer.add(found.slice(part.start, part.stop - part.start))
        writer.close()
        return blocks.group_rows[number]


@dataclass(frozen=True)
class Job:
    """All tasks of a job."""

    spec: str
    files: tuple[FileRecord, ...]
    """Of the table, as the caller sees it."""
    work: Count | Write


def run_task(job: bytes, task: int) -> bytes:
    """Run a task; returns its pickled result, or its UserError."""
    found: Job = pickle.loads(job)  # of the process that started the job
    try:
        table = _table(found.spec)
        if records(table.source.files) != found.files:
            raise UserError(
                f"{table.source.files[0].name}: the cluster sees other files than this machine; "
                "put the table where both read the same"
            )
        return pickle.dumps(found.work(table, task))
    except UserError as error:
        return pickle.dumps(error)


@lru_cache(maxsize=2)
def _table(spec: str) -> Table:
    return Table(TableSpec.model_validate_json(spec))


@lru_cache(maxsize=1)
def _fitted(folder: Path) -> Fitted:
    record = load_table(folder)
    if record is None:
        raise UserError(
            f"{folder}: the cluster does not see this folder; choose an --out on a file system "
            "that all machines share"
        )
    return record.fitted(folder)
