"""Splits a step's rows over another number of ranks than that of the shard plan."""

from __future__ import annotations

from typing import NamedTuple


class RankSlice(NamedTuple):
    """Rows `start` to `stop` of a step of rank `planned_rank` of the shard plan."""

    planned_rank: int
    start: int
    stop: int


def rank_slices(rank: int, world_size: int, planned_world_size: int, rows: int) -> list[RankSlice]:
    """Return the rows of rank `rank` of `world_size` in a step planned for other ranks.

    The concatenated rows of all planned ranks are split into `world_size` equal parts.

    Args:
        planned_world_size: ranks of the shard plan.
        rows: rows per step and planned rank.

    Raises:
        ValueError: `world_size` does not divide the rows per step.
    """
    total = planned_world_size * rows
    if total % world_size:
        raise ValueError(f"{total} rows per step are not divisible by {world_size} ranks")
    first, end = rank * total // world_size, (rank + 1) * total // world_size
    return [
        RankSlice(old, max(first - old * rows, 0), min(end - old * rows, rows))
        for old in range(first // rows, -(-end // rows))
    ]
