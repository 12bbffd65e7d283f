"""Provides the optimizer state of table shards for every kernel.

A fused kernel has an accumulator tensor per shard. For a dense kernel (the only one of replicated
tables) the accumulators belong to an optimizer of the parameter, which contains all of this rank's
shards of a table. Here both are represented as shards with the accumulators of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchrec.distributed.types import ShardedTensor
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.training.optim.optimizer import TOWER
from pipeline.training.parallelize import table_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AccumulatorShard:
    """A shard: its position in the table, and the accumulators of its rows, [rows, 1], no copy."""

    row: int
    column: int
    width: int
    """Columns of the shard, which share one accumulator per row."""
    sums: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTable:
    """This rank's part of a table; `weight` is a plain tensor if the table is replicated."""

    parameter: str
    name: str
    weight: Tensor | ShardedTensor
    shards: tuple[AccumulatorShard, ...]


def local_tables(model: nn.Module, optimizer: CombinedOptimizer) -> Iterator[LocalTable]:
    """Yield every table with rows on this rank; shards without rows are omitted."""
    weights = model.state_dict()
    for part, tables in optimizer.optimizers:
        if part == TOWER:
            continue
        for parameter, state in tables.state_dict()["state"].items():
            name, weight = table_of(parameter), weights[parameter]
            assert name is not None, parameter
            fused = state.get(f"{name}.momentum1")
            found = (
                _fused(fused, tables.params[parameter])
                if fused is not None
                else _dense(state["sum"], weight, tables.params[parameter])
            )
            if shards := tuple(shard for shard in found if len(shard.sums)):
                yield LocalTable(parameter=parameter, name=name, weight=weight, shards=shards)


def _fused(sums: ShardedTensor, weight: ShardedTensor) -> list[AccumulatorShard]:
    # TorchRec creates the shards of a weight and of its state in one loop, in the same order.
    return [
        _shard(shard.metadata.shard_offsets, shard.metadata.shard_sizes, state.tensor)
        for shard, state in zip(weight.local_shards(), sums.local_shards(), strict=True)
    ]


def _dense(
    sums: Tensor, weight: Tensor | ShardedTensor, parameter: Tensor
) -> list[AccumulatorShard]:
    if not isinstance(weight, ShardedTensor):
        return [_shard([0, 0], list(weight.shape), sums)]
    shards, start, accumulators = weight.local_shards(), parameter.data_ptr(), []
    of_shard = torch.split(sums, [len(shard.tensor) for shard in shards])
    for shard, values in zip(shards, of_shard, strict=True):
        assert shard.tensor.data_ptr() == start or not shard.tensor.numel(), "not as in memory"
        start += shard.tensor.nbytes
        accumulators.append(
            _shard(shard.metadata.shard_offsets, shard.metadata.shard_sizes, values)
        )
    return accumulators


def _shard(offsets: Any, sizes: Any, sums: Tensor) -> AccumulatorShard:
    row, column = offsets
    rows, width = sizes
    # An accumulator an element would be another optimizer's, which has another form when saved.
    assert sums.numel() == rows, (sums.shape, sizes)
    return AccumulatorShard(row=row, column=column, width=width, sums=sums.view(rows, 1))
