"""A table of a plan file: its option and the ranks of its shards."""

from __future__ import annotations

from itertools import accumulate
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator
from torchrec.distributed.planner.utils import placement
from torchrec.distributed.types import (
    CacheParams,
    EnumerableShardingSpec,
    ParameterSharding,
    ShardMetadata,
)

from embeddings.config import DATA_PARALLEL
from embeddings.frozen import Frozen
from embeddings.planner.inputs.arrays import IntArray
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.problem.options import PARTS

_PartsMs = Annotated[tuple[float, ...], Field(min_length=len(PARTS), max_length=len(PARTS))]


class PlacedTable(Frozen):
    """A table and its shards: equal blocks of columns, each split by rows; copies if data-parallel.

    Shards are ordered by block, then by first row.
    """

    table: ListedTable
    """The table and its usage; a run that uses the plan must have the same table."""
    path: str
    """Path of its collection in the model."""
    sharding_type: str
    compute_kernel: str
    width: int = Field(ge=1)
    """Columns of a block."""
    rows: tuple[tuple[int, int], ...] = Field(min_length=1)
    """(rows per shard, number of consecutive such shards) of one block."""
    ranks: str = Field(pattern=r"^\d+(-\d+)?(,\d+(-\d+)?)*$")
    """The rank of every shard, in order: '0-3,9'."""
    shard_ms: tuple[_PartsMs, ...] = Field(min_length=1)
    """Milliseconds of a shard on each of the cluster's kinds of devices: forward (compute, comms),
    backward (compute, comms), input exchange, prefetch."""
    sync_ms: float = 0.0
    """Milliseconds per step of a shard's replicas."""

    @model_validator(mode="after")
    def _covers(self) -> Self:
        table, shards = self.table, self.table.dim // self.width * sum(n for _, n in self.rows)
        sizes = {rows for rows, _ in self.rows}
        if self.sharding_type == DATA_PARALLEL:
            whole = self.width == table.dim and sizes == {table.rows}
        else:
            covered = sum(rows * n for rows, n in self.rows)
            whole = table.dim % self.width == 0 and covered == table.rows
        if not whole or shards != len(self.rank_list()):
            raise ValueError(
                f"table {table.name!r}: its shards or their ranks do not cover its "
                f"{table.rows} x {table.dim}; plan again"
            )
        return self

    @property
    def copied(self) -> bool:
        return self.sharding_type == DATA_PARALLEL

    def rank_list(self) -> list[int]:
        """The rank of every shard."""
        found: list[int] = []
        for run in self.ranks.split(","):
            first, _, last = run.partition("-")
            found += range(int(first), int(last or first) + 1)
        return found

    def rectangles(self) -> IntArray:
        """First row, first column, rows and columns of every shard, [S, 4]."""
        sizes = [rows for rows, count in self.rows for _ in range(count)]
        starts = [0] * len(sizes) if self.copied else [0, *accumulate(sizes)][:-1]
        blocks = self.table.dim // self.width
        found = np.zeros((blocks, len(sizes), 4), np.int64)
        found[:, :, 0], found[:, :, 2], found[:, :, 3] = starts, sizes, self.width
        found[:, :, 1] = self.width * np.arange(blocks)[:, None]
        return found.reshape(-1, 4)

    def cache_params(self, setup: TrainingSetup) -> CacheParams | None:
        """Cache parameters of cached tables that differ from TorchRec's defaults."""
        ahead, cache = setup.pipeline == "prefetch", self.table.cache
        if self.compute_kernel != "fused_uvm_caching" or not (ahead or cache):
            return None
        return CacheParams(
            load_factor=cache and cache.load_factor, prefetch_pipeline=True if ahead else None
        )

    def parameter_sharding(self, cluster: Cluster, setup: TrainingSetup) -> ParameterSharding:
        """Return TorchRec's object."""
        ranks = self.rank_list()
        shards = [
            ShardMetadata(
                shard_offsets=[row, column],
                shard_sizes=[rows, columns],
                placement=placement(cluster.device, rank, cluster.devices_per_host),
            )
            for (row, column, rows, columns), rank in zip(
                self.rectangles().tolist() if not self.copied else [], ranks, strict=not self.copied
            )
        ]
        return ParameterSharding(
            sharding_type=self.sharding_type,
            compute_kernel=self.compute_kernel,
            ranks=ranks,
            sharding_spec=None if self.copied else EnumerableShardingSpec(shards),
            cache_params=self.cache_params(setup),
        )
