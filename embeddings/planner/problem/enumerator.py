"""TorchRec's enumerator, with one shard of each size instead of all shards.

TorchRec creates a Python object for each shard of each option: 1,024 objects for one row-wise table
on 1,024 ranks. But its estimators assign equal costs to equally large shards of an option, and
equal options to equal tables.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator, get_partition_by_type
from torchrec.distributed.planner.types import (
    ParameterConstraints,
    Shard,
    ShardEstimator,
    ShardingOption,
    Topology,
)
from torchrec.distributed.planner.utils import build_sharder_data_map, sharder_name
from torchrec.distributed.sharding_plan import calculate_shard_sizes_and_offsets
from torchrec.distributed.types import ModuleSharder, ShardingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection

from embeddings.config import COLUMN_SPLIT
from embeddings.optimizer_mark import copy_mark, marked_optimizer
from embeddings.planner.problem.options import MEMORIES, PARTS, ModelTable, Option, Options, amounts

# Shards of a row-wise table: full ones, a smaller one, and empty ones if there are few rows.
_SIZES = 3


class CompactEnumerator(EmbeddingEnumerator):
    """TorchRec's enumerator and estimators, with one shard of each size."""

    def __init__(
        self,
        topology: Topology,
        batch_size: int,
        constraints: Mapping[str, ParameterConstraints],
        estimators: Sequence[ShardEstimator],
        half: frozenset[str] = frozenset(),
    ) -> None:
        """`half`: tables to treat as fp16."""
        self._of = dict(constraints)
        self._half = half
        self._buckets: dict[int, dict[str, int | None]] = {}
        super().__init__(topology, batch_size, self._of, list(estimators))

    def options(self, module: nn.Module, sharders: Sequence[ModuleSharder[Any]]) -> Options:
        """Return all options of all tables of `module`, in a fixed order.

        Raises ValueError for a table without options, or a duplicate name.
        """
        tables: list[ModelTable] = []
        found: list[Option] = []
        stock: list[ShardingOption] = []
        counts: list[list[int]] = []
        # Equal tables share their options: the option and its index in `stock`.
        shared: dict[Hashable, list[tuple[Option, int]]] = {}
        places: list[int] = []
        for model_table, sharder in self._tables(module, sharders):
            kind = self._kind(model_table)
            if kind not in shared:
                mine = shared[kind] = []
                for option, sizes in self._of_table(len(tables), model_table, sharder):
                    mine.append((option, len(stock)))
                    runs = [(size, len(list(run))) for size, run in groupby(map(tuple, sizes))]
                    assert len(runs) <= _SIZES, f"{model_table.name}: {len(runs)} sizes of shards"
                    counts.append([count for _, count in runs] + [0] * (_SIZES - len(runs)))
                    shards = [Shard(size=list(size), offset=[0, 0]) for size, _ in runs]
                    stock.append(self.stock_option(model_table, option, shards))
            if not shared[kind]:
                known = self._of.get(model_table.name, ParameterConstraints())
                types = known.sharding_types or sharder.sharding_types(self._compute_device)
                asked = ", ".join([*types, *(known.compute_kernels or ())])
                raise ValueError(
                    f"table {model_table.name!r}: the cluster has no option of {asked}; allow more "
                    "types or kernels, or give another cluster"
                )
            for option, place in shared[kind]:
                found.append(replace(option, table=len(tables)))
                places.append(place)
            tables.append(model_table)
        if not tables:
            raise ValueError("the model has no tables to shard; nothing to plan")
        if len({model_table.name for model_table in tables}) < len(tables):
            raise ValueError("two tables of the model have the same name; rename one")
        self.populate_estimates(stock)
        return Options(
            tables=tuple(tables),
            options=tuple(found),
            table=np.array([option.table for option in found], np.int64),
            blocks=np.array(
                [tables[option.table].tensor.shape[1] // option.width for option in found], np.int64
            ),
            counts=np.array(counts, np.int64).reshape(-1, _SIZES)[places],
            perf=np.array([_perf_of(option) for option in stock], np.float64)[places][:, None],
            kind=np.zeros(self._world_size, np.int64),
            memory=np.array([_memory_of(option) for option in stock], np.int64)[places],
            rows=np.array([option.shards[0].size[0] for option in stock], np.int64)[places],
            sync=np.zeros(len(found)),
        )

    def _kind(self, model_table: ModelTable) -> Hashable:
        """Return a key that is equal for tables with equal estimates and shards in TorchRec."""
        tensor, module = model_table.tensor, model_table.module
        return (
            id(module),
            tuple(tensor.shape),
            tensor.dtype,
            marked_optimizer(tensor),
            self._get_num_buckets(model_table.name, module),
            self._of.get(model_table.name),
        )

    def _get_num_buckets(self, parameter: str, module: nn.Module) -> int | None:
        """Same as in TorchRec, which iterates over all tables for each table."""
        if not isinstance(module, EmbeddingBagCollection | EmbeddingCollection):
            buckets: int | None = super()._get_num_buckets(parameter, module)
            return buckets
        if id(module) not in self._buckets:
            bags = isinstance(module, EmbeddingBagCollection)
            configs = module.embedding_bag_configs() if bags else module.embedding_configs()
            self._buckets[id(module)] = {
                config.name: config.total_num_buckets
                for config in configs
                if config.use_virtual_table
            }
        return self._buckets[id(module)].get(parameter)

    def stock_option(
        self, model_table: ModelTable, option: Option, shards: list[Shard]
    ) -> ShardingOption:
        """Return TorchRec's object for an option with the given shards."""
        known = self._of.get(model_table.name, ParameterConstraints())
        return ShardingOption(
            name=model_table.name,
            tensor=model_table.tensor,
            module=(model_table.path, model_table.module),
            input_lengths=known.pooling_factors,
            batch_size=self._batch_size,
            compute_kernel=option.kernel,
            sharding_type=option.sharding_type,
            partition_by=get_partition_by_type(option.sharding_type),
            shards=shards,
            cache_params=known.cache_params,
            enforce_hbm=known.enforce_hbm,
            stochastic_rounding=known.stochastic_rounding,
            bounds_check_mode=known.bounds_check_mode,
            is_pooled=model_table.pooled,
            feature_names=known.feature_names,
            output_dtype=known.output_dtype,
            key_value_params=known.key_value_params,
        )

    def sizes_and_offsets(
        self, model_table: ModelTable, option: Option
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Return size and offset (rows, columns) of every shard of an option, as in TorchRec."""
        sizes, offsets = calculate_shard_sizes_and_offsets(
            tensor=model_table.tensor,
            world_size=self._world_size,
            local_world_size=self._local_world_size,
            sharding_type=option.sharding_type,
            col_wise_shard_dim=option.width,
            num_buckets=self._get_num_buckets(model_table.name, model_table.module),
        )
        return sizes, offsets

    def _tables(
        self, module: nn.Module, sharders: Sequence[ModuleSharder[Any]]
    ) -> Iterator[tuple[ModelTable, ModuleSharder[Any]]]:
        """Return the tables that a sharder can shard."""
        self._sharder_map = {sharder_name(s.module_type): s for s in sharders}
        self._sharder_data_map = build_sharder_data_map(self._sharder_map)
        waiting = [("", module)]
        while waiting:
            path, child = waiting.pop()
            sharder = self._sharder_map.get(sharder_name(type(child)))
            if sharder is None:
                waiting += [(f"{path}.{n}" if path else n, m) for n, m in child.named_children()]
                continue
            pooled = ShardingOption.module_pooled(child, path)
            for name, tensor in sharder.shardable_parameters(child).items():
                taken = _halved(tensor) if name in self._half else tensor
                model_table = ModelTable(
                    name=name, path=path, module=child, tensor=taken, pooled=pooled
                )
                yield model_table, sharder

    def _of_table(
        self, table: int, model_table: ModelTable, sharder: ModuleSharder[Any]
    ) -> Iterator[tuple[Option, list[list[int]]]]:
        """Return the options of a table, with the shard sizes of one column block."""
        key = sharder_name(type(model_table.module))
        offered = sharder.sharding_types(self._compute_device)
        # TorchRec's filters use sets of strings, whose order differs between processes.
        types = sorted(
            self._filter_sharding_types(model_table.name, offered, key), key=offered.index
        )
        for sharding_type in types:
            kernels = self._filter_compute_kernels(
                model_table.name,
                sharder.compute_kernels(sharding_type, self._compute_device),
                sharding_type,
            )
            for width in self._widths(model_table, sharding_type):
                some = Option(table=table, sharding_type=sharding_type, kernel="", width=width)
                sizes, _ = self.sizes_and_offsets(model_table, some)
                blocks = model_table.tensor.shape[1] // width
                for kernel in sorted(set(kernels)):
                    # TorchRec keeps their column shards on different ranks, the search does not.
                    if kernel == "key_value" and blocks > 1:
                        continue
                    yield (
                        Option(
                            table=table, sharding_type=sharding_type, kernel=kernel, width=width
                        ),
                        sizes[: len(sizes) // blocks],
                    )

    def _widths(self, model_table: ModelTable, sharding_type: str) -> list[int]:
        """Return columns per shard: TorchRec's choice, and every larger width that it accepts."""
        dim = model_table.tensor.shape[1]
        if sharding_type not in COLUMN_SPLIT:
            return [dim]
        known = self._of.get(model_table.name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Dim of .* cannot be evenly divided")
            sizes, _ = calculate_shard_sizes_and_offsets(
                tensor=model_table.tensor,
                world_size=self._world_size,
                local_world_size=self._local_world_size,
                sharding_type=ShardingType.COLUMN_WISE.value,
                col_wise_shard_dim=known.min_partition if known else None,
            )
        narrowest = sizes[0][1]
        wider = range(narrowest + 1, dim)
        return [narrowest, *(w for w in wider if dim % w == 0 and w % 4 == 0)]


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same table in fp16, marked with its optimizer."""
    half = torch.empty(tensor.shape, dtype=torch.float16, device="meta")
    copy_mark(tensor, half)
    return half


def _perf_of(option: ShardingOption) -> list[float]:
    rows = {tuple(getattr(shard.perf, part) for part in PARTS) for shard in option.shards}
    assert len(rows) == 1, f"{option.name}: {option.sharding_type} shards differ in time"
    return list(rows.pop())


def _memory_of(option: ShardingOption) -> list[list[int]]:
    rows = [amounts(shard.storage) for shard in option.shards]
    return rows + [[0] * len(MEMORIES)] * (_SIZES - len(rows))
