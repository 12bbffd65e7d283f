"""Every option of every table, with TorchRec's costs, as arrays.

An option is described by the few distinct sizes of its shards: shards of equal size cost the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torchrec.distributed.planner.types import Storage

from embeddings.planner.inputs.arrays import FloatArray, IntArray

# The parts of a step in TorchRec's Perf. Its rating is the sum of all except input_dist_comms.
PARTS = (
    "fwd_compute",
    "fwd_comms",
    "bwd_compute",
    "bwd_comms",
    "input_dist_comms",
    "prefetch_compute",
)
MEMORIES = ("hbm", "ddr", "ssd")


def amounts(storage: Storage) -> list[int]:
    """Return TorchRec's bytes by MEMORIES."""
    return [storage.hbm, storage.ddr, storage.ssd]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTable:
    """A table of the model, for TorchRec's enumerator."""

    name: str
    path: str
    module: nn.Module
    tensor: torch.Tensor
    pooled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option of a table: sharding type, kernel, and columns per shard."""

    table: int
    sharding_type: str
    kernel: str
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """N options of all tables, grouped by table.

    An option has `blocks` equal column blocks. Each is split by rows into `counts[:, 0]` shards of
    one size, then `counts[:, 1]` of another, then `counts[:, 2]` empty ones.
    """

    tables: tuple[ModelTable, ...]
    options: tuple[Option, ...]
    table: IntArray
    """[N] index into `tables`, ascending."""
    blocks: IntArray
    """[N]"""
    counts: IntArray
    """[N, 3] number of shards of each size per block."""
    perf: FloatArray
    """[N, K, 6] milliseconds of a shard of any size on each of K kinds of devices, by PARTS."""
    kind: IntArray
    """[R] kind of every rank's device."""
    memory: IntArray
    """[N, 3, 3] bytes of a shard of each size, by MEMORIES."""
    rows: IntArray
    """[N] rows of the largest shard."""
    sync: FloatArray
    """[N] milliseconds of a shard's replicas; not counted by TorchRec."""

    def of(self, table: int) -> range:
        """Return the options of one table."""
        first, last = np.searchsorted(self.table, [table, table + 1])
        return range(int(first), int(last))

    def perf_on(self, n: int, ranks: IntArray) -> FloatArray:
        """Return the milliseconds of shards of option `n` on these ranks, by PARTS, [S, 6]."""
        every: FloatArray = self.perf[n, self.kind[ranks]]
        return every

    def shard_memory(self, n: int) -> IntArray:
        """Return the bytes of every shard of option `n`, in order, by MEMORIES, [S, 3]."""
        block = np.repeat(self.memory[n], self.counts[n], axis=0)
        every: IntArray = np.tile(block, (int(self.blocks[n]), 1))
        return every
