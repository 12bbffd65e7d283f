"""Which sharding types a device can run, and in which numbers rows cross between ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from fbgemm_gpu.quantize_comm import QuantizedCommCodec
from fbgemm_gpu.split_embedding_configs import SparseType
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embedding_types import EmbeddingComputeKernel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.types import (
    CommOp,
    ModuleSharder,
    QuantizedCommCodecs,
    ShardingType,
)

from embeddings.config import SHARDING_TYPES, UNPOOLED_TYPES, CommDType


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
    (tests/integration/sharding/test_every_plan.py holds every type to one process's results).
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


class _ScaledCodec(QuantizedCommCodec):
    """FBGEMM's codec whose scale is divided out after decoding.

    FBGEMM 1.8 divides while the number is still fp16, where what the scale saved from becoming 0
    becomes 0 again (tests/embeddings/test_sharders.py).
    """

    def __init__(self, comm_precision: SparseType, scale: float) -> None:
        super().__init__(comm_precision)
        self._scale = scale

    def encode(self, input_tensor: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        return super().encode(input_tensor * self._scale, ctx)

    def decode(self, input_tensor: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        return super().decode(input_tensor, ctx) / self._scale


def sent_as(forward: CommDType, backward: CommDType, rows: int) -> Mapping[str, Any] | None:
    """TorchRec's quantised exchanges by exchange; None if all is sent as it is.

    TorchRec's own get_qcomm_codecs_registry takes fp16 for bf16 on CPU, which gloo once could not
    send. Gradients of a mean over `rows` rows are near 1 / rows, below what fp16 holds well (6e-5)
    for batches of some thousand: they are multiplied by `rows`, as the next power of two, to be
    sent as fp16.
    """
    if forward == backward == "fp32":
        return None
    scale = float(2 ** (rows - 1).bit_length()) if backward == "fp16" else 1.0
    exchanges = (
        CommOp.POOLED_EMBEDDINGS_ALL_TO_ALL,
        CommOp.POOLED_EMBEDDINGS_REDUCE_SCATTER,
        CommOp.SEQUENCE_EMBEDDINGS_ALL_TO_ALL,
    )
    return {
        exchange.name: QuantizedCommCodecs(
            forward=QuantizedCommCodec(SparseType(forward)),
            backward=_ScaledCodec(SparseType(backward), scale),
        )
        for exchange in exchanges
    }
