"""The search's problem: items to place on ranks, each in one of several placements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torchrec.distributed.types import ShardingType

from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.problem.options import Options
from embeddings.planner.problem.speeds import Sites, Speeds, mean_ms

# Layout of the shards of a sharding type.
EVERYWHERE = 0  # shard i on rank i
FREE = 1  # each column block on any rank
HOST_ROWS = 2  # each column block over one host's ranks, shard i on its rank i
HOST_COLUMNS = 3  # all column blocks on ranks of one host

LAYOUTS = {
    ShardingType.DATA_PARALLEL.value: EVERYWHERE,
    ShardingType.ROW_WISE.value: EVERYWHERE,
    ShardingType.TABLE_WISE.value: FREE,
    ShardingType.COLUMN_WISE.value: FREE,
    ShardingType.TABLE_ROW_WISE.value: HOST_ROWS,
    ShardingType.GRID_SHARD.value: HOST_ROWS,
    ShardingType.TABLE_COLUMN_WISE.value: HOST_COLUMNS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """M items with N placements in all to place them on R = hosts x local ranks of K speeds.

    An item is a table, or a group of tables that stay together. Placements of an item lie next to
    each other. Times in milliseconds, memory in bytes.
    """

    hosts: int
    local: int
    free: IntArray
    """[3, R] memory of each rank for tables, by MEMORIES."""
    members: tuple[tuple[int, ...], ...]
    """Tables of each item."""
    first: IntArray
    """[M + 1] start of each item's placements."""
    options: tuple[tuple[int, ...], ...]
    """[N] option of each member, by placement."""
    types: tuple[str, ...]
    """[N] sharding types."""
    layout: IntArray
    """[N]"""
    blocks: IntArray
    """[N]"""
    counts: IntArray
    """[N, 3] see Options."""
    time: FloatArray
    """[N] milliseconds of a shard; of the slowest one, on the ranks that suit it best, if `speeds`
    differ."""
    memory: IntArray
    """[N, 3, 3] see Options."""
    pins: tuple[tuple[int, ...] | None, ...]
    """[M] ranks of an item's shards, if pinned by a rule."""
    host_group: tuple[int, ...] = ()
    """[M] the group of items that share a host, or -1; empty if there is none."""
    speeds: Speeds | None = None
    """Set if ranks differ in speed."""

    @property
    def ranks(self) -> int:
        return self.hosts * self.local

    @property
    def items(self) -> int:
        return len(self.members)

    def placements(self, item: int) -> range:
        return range(int(self.first[item]), int(self.first[item + 1]))

    def total_time(self, weights: FloatArray | None = None) -> FloatArray:
        """[N] total time of all shards; with `speeds`, on the ranks where it is least, each rank
        weighted by its speed's of `weights` ([K]; None: all 1)."""
        time = self.time
        if self.speeds is not None:
            ones = np.ones(len(self.speeds.sizes))
            time = mean_ms(self.speeds, self.sites(), ones if weights is None else weights)
        return time * self.blocks * self.counts.sum(axis=1)

    def sites(self) -> Sites:
        return sites_of(self.layout, self.first, self.pins)

    def total_memory(self) -> IntArray:
        """[N, 3] total memory of all shards."""
        every: IntArray = np.einsum("ns,nsm->nm", self.counts, self.memory) * self.blocks[:, None]
        return every


def sites_of(layout: IntArray, first: IntArray, pins: Sequence[tuple[int, ...] | None]) -> Sites:
    """Return the ranks on which blocks of placements may be. `first`, `pins`: see Problem."""
    return Sites(
        everywhere=np.flatnonzero(layout == EVERYWHERE),
        host_rows=np.flatnonzero(layout == HOST_ROWS),
        pinned=tuple(
            (np.arange(first[item], first[item + 1]), ranks)
            for item, ranks in enumerate(pins)
            if ranks is not None
        ),
    )


def rated(perf: FloatArray) -> FloatArray:
    """Return TorchRec's total of the parts (last axis, by PARTS), added in TorchRec's order."""
    forward, sent, backward, returned, _, fetched = np.moveaxis(perf, -1, 0)
    total: FloatArray = forward + backward + sent + returned + fetched
    return total


def shard_ms(options: Options) -> FloatArray:
    """Return milliseconds of a shard per step by kind of device, including replicas, [N, K]."""
    total: FloatArray = rated(options.perf) + options.sync[:, None]
    return total
