"""A look at a split's values before training: a bad one is named at once, not when a step reads it.

Reading everything would delay the start, so the looks differ in depth:
- Of all row groups (`GROUPS` a rank at most) the statistics in the files' footers: they tell of ids
  below 0 or outside a vocabulary without hash rows, of infinite numbers, and of labels outside of
  0 and 1. A row group that they accuse is decoded, which names the row.
- Of up to `ROWS` rows a rank, in row groups spread over the split, numbers and labels. Those row
  groups whose statistics lack something, and the first one, are decoded whole.
All other values are checked when they are read, as these are again.
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
        The share of the split's row groups whose numbers and labels were checked, over all ranks.

    Raises:
        UserError: naming file, row and column, for a value that no table or loss can take.
    """
    rows = shards.group_rows
    num_groups = len(rows)
    every = -(-num_groups // (GROUPS * world_size))
    for group in range(rank * every, num_groups, every * world_size):
        if shards.in_range(group, columns.ranges) is False:
            _decode(shards, columns, group)
    every = -(-sum(rows) // (ROWS * world_size))
    if max(rows) > ROWS:  # one of them is too much
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
