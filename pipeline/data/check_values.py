"""Checks a split's values before training, so that bad values are reported early.

Reading everything would delay the start, so the checks are limited:
- For all row groups (at most `GROUPS` per rank), the statistics in the files' footers. They reveal
  ids below 0 or outside a vocabulary without hash rows, infinite numbers, and labels other than 0
  and 1. A suspicious row group is decoded to find the row.
- For up to `ROWS` rows per rank, in row groups spread over the split, numbers and labels. The first
  row group, and those without statistics, are decoded completely.
All values are checked again when they are read.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from pipeline.data.columns import Columns
from pipeline.data.split_files import Shards

GROUPS = 1024
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
    every = -(-num_groups // (GROUPS * world_size))
    for group in range(rank * every, num_groups, every * world_size):
        if shards.in_range(group, columns.ranges) is False:
            _decode(shards, columns, group)
    every = -(-sum(rows) // (ROWS * world_size))
    if max(rows) > ROWS:  # even one is too large
        return 0.0
    for group in range(rank * every, num_groups, every * world_size):
        if group == 0 or shards.in_range(group, columns.ranges) is None:
            _decode(shards, columns, group)
        else:
            groups = np.array([group])
            table = shards.read(groups, columns.floats)
            columns.check_floats(table, partial(shards.locate, groups))
    return len(range(0, num_groups, every)) / num_groups


def _decode(shards: Shards, columns: Columns, group: int) -> None:
    groups, rows = np.array([group]), shards.group_rows[group]
    columns.decode(
        shards.read(groups),
        np.arange(rows),
        np.ones(rows, np.float32),
        partial(shards.locate, groups),
    )
