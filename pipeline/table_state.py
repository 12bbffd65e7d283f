"""The tables' optimizer state in a checkpoint: saved under one sharding plan, read under any.

For each table (R rows, D columns) there is one tensor `tables.PARAMETER.sum`:

    Adagrad           [R, D], an accumulator an element, whatever the plan
    row-wise Adagrad  [K * R]: the K blocks of columns that the plan cut the table into, from the
                      left, each with its R rows; K is 1 but for plans that split columns

Which columns a block has is told by the chunks of the table's weight in the same checkpoint. Fused,
dense and replicated tables keep their state in memory each in a way of its own; here it is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
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

from pipeline.accumulators import Columns, mean_of_columns, shares
from pipeline.errors import UserError
from pipeline.parallelize import table_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """This rank's part of a table, and its state: [rows], or [rows, columns], not a copy."""

    row: int
    column: int
    rows: int
    columns: int
    values: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _TableState:
    """All that this rank knows of a table."""

    parameter: str
    table: str
    weight: Tensor | ShardedTensor
    pieces: list[_Piece]
    row_wise: bool


def table_state(model: nn.Module, optimizer: CombinedOptimizer) -> dict[str, dict[str, Tensor]]:
    """By parameter: its state, as it is saved. The tensors are the optimizer's own memory."""
    return {found.parameter: {"sum": _to_save(found)} for found in _table_states(model, optimizer)}


class TableStateReader(DefaultLoadPlanner):
    """Reads what this rank's parts of the tables need, from a checkpoint of whatever plan.

    To be handed to torch's `load`, with an empty state; `finish` then sets the optimizer's state.
    UserError if the checkpoint, in `folder` and with `saved` in it, has not the state of a table.
    """

    def __init__(
        self, model: nn.Module, optimizer: CombinedOptimizer, saved: Metadata, folder: Path
    ) -> None:
        super().__init__()
        self._saved = saved.state_dict_metadata
        self._folder = folder
        # By key and offset in the checkpoint: where it is read to.
        self._into: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self._joins: list[tuple[Tensor, list[tuple[Tensor, int]]]] = []
        for found in _table_states(model, optimizer):
            self._add(found)

    def finish(self) -> None:
        for values, parts in self._joins:
            values.copy_(mean_of_columns(parts))

    def create_local_plan(self) -> LoadPlan:
        items = []
        for (key, offset), into in self._into.items():
            chunk = ChunkStorageMetadata(offsets=torch.Size(offset), sizes=into.size())
            saved = self._saved[key]
            assert isinstance(saved, TensorStorageMetadata)
            items += create_read_items_for_chunk_list(key, saved, [chunk])
        return LoadPlan(items)

    def lookup_tensor(self, index: MetadataIndex) -> Tensor:
        assert index.offset is not None
        return self._into[index.fqn, tuple(index.offset)]

    def _add(self, found: _TableState) -> None:
        weight = self._saved.get(f"model.{found.parameter}")
        key = next((key for key in _keys(found) if key in self._saved), None)
        saved = None if key is None else self._saved[key]
        if not (
            isinstance(weight, TensorStorageMetadata) and isinstance(saved, TensorStorageMetadata)
        ):
            raise UserError(
                f"{self._folder}: has no optimizer state of table {found.table!r}; resume with the "
                "configuration that the run began with"
            )
        assert key is not None
        blocks = _blocks([(chunk.offsets[1], chunk.sizes[1]) for chunk in weight.chunks])
        rows, columns = weight.size
        form = (
            [len(blocks) * rows, *[1] * (len(saved.size) - 1)]
            if found.row_wise
            else [rows, columns]
        )
        if list(saved.size) != form:
            raise UserError(
                f"{self._folder}: the optimizer state of table {found.table!r} is "
                f"{list(saved.size)} there, and {form} by sparse.kind of this run; resume with the "
                "one that the run began with"
            )
        for piece in found.pieces:
            if not found.row_wise:
                self._into[key, (piece.row, piece.column)] = piece.values
                continue
            parts = []
            for block, common in shares((piece.column, piece.column + piece.columns), blocks):
                offset = (block * rows + piece.row, *[0] * (len(saved.size) - 1))
                into = torch.empty(
                    (piece.rows, *form[1:]), dtype=piece.values.dtype, device=piece.values.device
                )
                into = self._into.setdefault((key, offset), into)
                assert into.shape[0] == piece.rows
                parts.append((into.view(-1), common))
            self._joins.append((piece.values, parts))


def _keys(found: _TableState) -> Iterator[str]:
    """Where a checkpoint may have a table's state: now, and before it was one form for all plans,
    when it was TorchRec's own for fused tables, and torch's for replicated ones."""
    yield f"tables.{found.parameter}.sum"
    yield f"optimizer.state.fused.{found.parameter}.{found.table}.momentum1"
    yield f"optimizer.state.replicated.{found.parameter}.sum"


def _table_states(model: nn.Module, optimizer: CombinedOptimizer) -> Iterator[_TableState]:
    """Of every table that this rank has a part of."""
    weights = model.state_dict()
    for part, tables in optimizer.optimizers:
        if part == "dense":
            continue
        for parameter, state in tables.state_dict()["state"].items():
            table, weight = table_of(parameter), weights[parameter]
            assert table is not None, parameter
            pieces = _pieces(table, weight, tables.params[parameter], state)
            # A shard without rows would stand in a checkpoint where the next block begins.
            if pieces := [piece for piece in pieces if piece.rows]:
                yield _TableState(
                    parameter=parameter,
                    table=table,
                    weight=weight,
                    pieces=pieces,
                    row_wise=pieces[0].values.dim() == 1,
                )


def _pieces(table: str, weight: Any, parameter: Any, state: dict[str, Any]) -> list[_Piece]:
    """A table's state by this rank's shards of it, from where its kernel keeps it."""
    if (fused := state.get(f"{table}.momentum1")) is not None:
        # TorchRec has the shards of a weight and of its state in the same order.
        places = [
            (s.metadata.shard_offsets, s.metadata.shard_sizes) for s in parameter.local_shards()
        ]
        values = [shard.tensor for shard in fused.local_shards()]
    elif isinstance(weight, ShardedTensor):
        shards = weight.local_shards()
        places = [(s.metadata.shard_offsets, s.metadata.shard_sizes) for s in shards]
        # The parameter is all shards of the table on this rank, one below the other.
        values = list(state["sum"].split([size[0] for _, size in places]))
        first = parameter.data_ptr()
        for shard, (_, size) in zip(shards, places, strict=True):
            assert shard.tensor.data_ptr() == first or not shard.tensor.numel(), table
            first += size[0] * size[1] * shard.tensor.element_size()
    else:
        places, values = [([0, 0], list(weight.shape))], [state["sum"]]
    return [
        _Piece(
            row=offset[0],
            column=offset[1],
            rows=size[0],
            columns=size[1],
            values=value.squeeze(1) if value.dim() == 2 and value.shape[1] == 1 else value,
        )
        for (offset, size), value in zip(places, values, strict=True)
    ]


def _blocks(columns: list[tuple[int, int]]) -> list[Columns]:
    """Blocks of columns, from the left, of shards' (first column, columns)."""
    return sorted({(first, first + width) for first, width in columns})


def _to_save(found: _TableState) -> Tensor | ShardedTensor:
    if not isinstance(found.weight, ShardedTensor):
        (piece,) = found.pieces
        return piece.values
    weight = found.weight.metadata()
    rows = weight.size[0]
    blocks = _blocks([(s.shard_offsets[1], s.shard_sizes[1]) for s in weight.shards_metadata])
    starts = {first: index * rows for index, (first, _) in enumerate(blocks)}
    moved = {
        tuple(shard.shard_offsets): ShardMetadata(
            shard_offsets=[starts[shard.shard_offsets[1]] + shard.shard_offsets[0]],
            shard_sizes=[shard.shard_sizes[0]],
            placement=shard.placement,
        )
        if found.row_wise
        else shard
        for shard in weight.shards_metadata
        if shard.shard_sizes[0]
    }
    return ShardedTensor._init_from_local_shards_and_global_metadata(
        local_shards=[Shard(p.values, moved[p.row, p.column]) for p in found.pieces],
        sharded_tensor_metadata=ShardedTensorMetadata(
            shards_metadata=list(moved.values()),
            size=torch.Size([len(blocks) * rows]) if found.row_wise else weight.size,
            tensor_properties=TensorProperties(dtype=torch.float32),
        ),
        process_group=found.weight._process_group,
    )
