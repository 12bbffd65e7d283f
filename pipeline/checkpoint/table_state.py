"""Optimizer state of tables in a checkpoint: saved under one sharding plan, loaded under any.

For each table with R rows there is a tensor `tables.PARAMETER`, [R, K]: the accumulators of the
rows for each of the K blocks of columns, from the left. K is 1 unless the plan splits columns. The
chunks of the table's weight in the same checkpoint define the columns of the blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torchrec.distributed.types import (
    Shard,
    ShardedTensor,
    ShardedTensorMetadata,
    ShardMetadata,
    TensorProperties,
)
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.checkpoint.reshard_optimizer import ColumnRange, mean_of_columns, overlaps
from pipeline.training.optim.optimizer_shards import LocalTable, local_tables


def table_state(model: nn.Module, optimizer: CombinedOptimizer) -> dict[str, Tensor]:
    """Return the state to save, by parameter. The tensors share the optimizer's memory."""
    return {table.parameter: _to_save(table) for table in local_tables(model, optimizer)}


class TablesLoader(DefaultLoadPlanner):
    """Load planner that also loads the optimizer state of tables.

    Reads only the parts for this rank's shards; `finish` then copies them to the optimizer. A table
    without state in the checkpoint raises ValueError, which `load` wraps.
    """

    def __init__(self, model: nn.Module, optimizer: CombinedOptimizer) -> None:
        super().__init__()
        self._tables = list(local_tables(model, optimizer))
        # Tensors to read, by key and offset in the checkpoint.
        self._read: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        # The accumulators of a shard, and their parts with numbers of columns.
        self._parts: list[tuple[Tensor, list[tuple[Tensor, int]]]] = []

    def create_local_plan(self) -> LoadPlan:
        items = list(super().create_local_plan().items)
        for table in self._tables:
            self._request(table)
        for (key, offset), values in self._read.items():
            chunk = ChunkStorageMetadata(offsets=torch.Size(offset), sizes=values.size())
            items += create_read_items_for_chunk_list(key, self._saved(key), [chunk])
        return LoadPlan(items)

    def lookup_tensor(self, index: MetadataIndex) -> Tensor:
        own = None if index.offset is None else self._read.get((index.fqn, tuple(index.offset)))
        return super().lookup_tensor(index) if own is None else own

    def finish(self) -> None:
        """Copy the state to the optimizer, after `load`. Not collective."""
        for sums, parts in self._parts:
            sums.copy_(mean_of_columns(parts))

    def _request(self, table: LocalTable) -> None:
        key = f"tables.{table.parameter}"
        weight, state = self._saved(f"model.{table.parameter}"), self._saved(key)
        blocks = _blocks([(chunk.offsets[1], chunk.sizes[1]) for chunk in weight.chunks])
        rows = weight.size[0]
        if state.size != torch.Size([rows, len(blocks)]):
            raise ValueError(f"{key} is {list(state.size)}, not {rows} rows, {len(blocks)} blocks")
        for shard in table.shards:
            parts = []
            for block, common in overlaps((shard.column, shard.column + shard.width), blocks):
                # Shards from the same saved shard share a read; they have the same rows.
                at = key, (shard.row, block)
                values = self._read.setdefault(at, torch.empty_like(shard.sums))
                assert values.shape == shard.sums.shape
                parts.append((values, common))
            self._parts.append((shard.sums, parts))

    def _saved(self, key: str) -> TensorStorageMetadata:
        assert self.metadata is not None
        found = self.metadata.state_dict_metadata.get(key)
        if not isinstance(found, TensorStorageMetadata):
            raise ValueError(f"has no {key}")
        return found


def _blocks(shards: list[tuple[int, int]]) -> list[ColumnRange]:
    """Return the blocks of columns, from the left, of shards given as (first column, columns)."""
    return sorted({(first, first + width) for first, width in shards})


def _to_save(table: LocalTable) -> Tensor | ShardedTensor:
    if not isinstance(table.weight, ShardedTensor):
        (shard,) = table.shards
        return shard.sums
    weight = table.weight.metadata()
    blocks = _blocks([(s.shard_offsets[1], s.shard_sizes[1]) for s in weight.shards_metadata])
    index = {first: number for number, (first, _) in enumerate(blocks)}
    moved = {
        tuple(shard.shard_offsets): ShardMetadata(
            shard_offsets=[shard.shard_offsets[0], index[shard.shard_offsets[1]]],
            shard_sizes=[shard.shard_sizes[0], 1],
            placement=shard.placement,
        )
        for shard in weight.shards_metadata
        if shard.shard_sizes[0]
    }
    return ShardedTensor._init_from_local_shards_and_global_metadata(
        local_shards=[Shard(p.sums, moved[p.row, p.column]) for p in table.shards],
        sharded_tensor_metadata=ShardedTensorMetadata(
            shards_metadata=list(moved.values()),
            size=torch.Size([weight.size[0], len(blocks)]),
            tensor_properties=TensorProperties(dtype=table.shards[0].sums.dtype),
        ),
        process_group=table.weight._process_group,
    )
