"""Which sharding types a device can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embedding_types import EmbeddingComputeKernel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.types import ModuleSharder, ShardingType

SHARDING_TYPES: tuple[str, ...] = (
    ShardingType.DATA_PARALLEL.value,
    ShardingType.TABLE_WISE.value,
    ShardingType.COLUMN_WISE.value,
    ShardingType.ROW_WISE.value,
    ShardingType.TABLE_ROW_WISE.value,
    ShardingType.TABLE_COLUMN_WISE.value,
    ShardingType.GRID_SHARD.value,
)

# TorchRec 1.8 has these for unpooled rows, and data_parallel, which is left out: FBGEMM 1.8 on CPU
# sums a replicated table's bags although its rows are asked for.
UNPOOLED_TYPES: tuple[str, ...] = (
    ShardingType.TABLE_WISE.value,
    ShardingType.COLUMN_WISE.value,
    ShardingType.ROW_WISE.value,
)


def cpu_kernels(sharding_type: str, *, unpooled: bool) -> tuple[str, ...]:
    """Compute kernels that train on CPU. The planner offers the first alone, as TorchRec does."""
    if sharding_type == ShardingType.DATA_PARALLEL.value:
        return (EmbeddingComputeKernel.DENSE.value,)
    fused = (EmbeddingComputeKernel.FUSED.value,)
    # The dense kernel sums bags, as above.
    return fused if unpooled else (*fused, EmbeddingComputeKernel.DENSE.value)


class AllShardingTypes(EmbeddingBagCollectionSharder):
    """Offers every sharding type on every device.

    TorchRec's own sharder keeps the row-wise kinds from CPU, although they run there on gloo
    (tests/integration/test_every_plan.py holds every type to one process's results).
    """

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(SHARDING_TYPES)


class AllUnpooledTypes(EmbeddingCollectionSharder):
    """Offers what an EmbeddingCollection can do, the same on every device."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(UNPOOLED_TYPES)


def all_sharders(codecs: Mapping[str, Any] | None = None) -> list[ModuleSharder[Any]]:
    """One for each kind of collection; `codecs`: TorchRec's quantised exchanges, by exchange."""
    return [
        AllShardingTypes(qcomm_codecs_registry=codecs),
        AllUnpooledTypes(qcomm_codecs_registry=codecs),
    ]
