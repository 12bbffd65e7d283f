"""Checks a split's values before training, so that bad values are reported early.

Reading everything would delay the start, so the checks are limited:
- For all row groups (at most `GROUPS` per rank), the statistics in the files' footers. They reveal
  ids below 0 or outside a vocabulary without hash rows, infinite numbers, and labels other than 0
  and 1. A suspicious row group is decoded to find the row.
- For up to `ROWS` rows per rank, in row groups spread over the split, numbers and labels. The first
  row group, and those without statistics, are decoded completely.
The labels of these must fit the counts in schema.json, which determine the first logits.
All values are checked again when they are read.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.columns import Columns
from pipeline.data.schema import AGAIN
from pipeline.data.shards import Shards
from pipeline.io.errors import UserError

GROUPS = 1024
RUN = 64
ROWS = 1 << 18


def check_values(shards: Shards, columns: Columns, *, rank: int, world_size: int) -> float:
    """Check this rank's part of the split.

    Returns:
        The share of row groups whose numbers and labels were checked, over all ranks.

    Raises:
        UserError: naming file, row and column, for an invalid value.
    """
    rows = shards.group_rows
    num_groups = len(rows)
    in_range = cache(partial(shards.in_range, ranges=columns.ranges))
    every = -(-num_groups // (GROUPS * world_size))
    mine = range(rank * num_groups // world_size, (rank + 1) * num_groups // world_size)
    for group in mine:
        # In runs, because the footer of a file is parsed as a whole.
        if group // RUN % every == 0 and in_range(group) is False:
            _decode(shards, columns, group)
    every = -(-sum(rows) // (ROWS * world_size))
    if max(rows) > ROWS:  # even one is too large
        return 0.0
    labels = _LabelCounts(columns)
    for group in mine:
        if group % every:
            continue
        if group == 0 or in_range(group) is None:
            table = _decode(shards, columns, group)
        else:
            groups = np.array([group])
            table = shards.read(groups, columns.floats)
            columns.check_floats(table, partial(shards.locate, groups))
        labels.add(table)
    labels.check(shards)
    return len(range(0, num_groups, every)) / num_groups


def _decode(shards: Shards, columns: Columns, group: int) -> pa.Table:
    """Read and check all columns of a row group."""
    groups, rows = np.array([group]), shards.group_rows[group]
    table = shards.read(groups)
    locate = partial(shards.locate, groups)
    columns.decode(table, np.arange(rows), np.ones(rows, np.float32), locate)
    return table


class _LabelCounts:
    """Labels of 1, and missing ones, of the rows looked at."""

    def __init__(self, columns: Columns) -> None:
        self._tasks = columns.tasks
        self._positives = dict.fromkeys((task.name for task in self._tasks), 0)
        self._missing = dict(self._positives)
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        self._rows += len(table)
        for task in self._tasks:
            column = table[task.column]
            self._positives[task.name] += round(pc.sum(column).as_py() or 0)
            self._missing[task.name] += column.null_count

    def check(self, shards: Shards) -> None:
        """UserError if the schema's counts cannot be those of the whole split."""
        unseen = shards.info.rows - self._rows
        for what, stated, found in (
            ("positives", shards.info.positives, self._positives),
            ("missing", shards.info.missing, self._missing),
        ):
            for name, count in found.items():
                if name in stated and not count <= stated[name] <= count + unseen:
                    of = "at least " if unseen else ""
                    raise UserError(
                        f"{shards.folder / 'schema.json'}: splits.{shards.split}.{what}.{name} is "
                        f"{stated[name]}, but its files hold {of}{count} of {self._rows} rows; "
                        f"write the right count, or {AGAIN}"
                    )
