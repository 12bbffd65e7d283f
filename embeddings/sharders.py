"""Sharders: sharding types by device, and number formats of exchanges."""

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
    """Compute kernels that train on CPU. The planner offers only the first, as in TorchRec."""
    if sharding_type == ShardingType.DATA_PARALLEL.value:
        return (EmbeddingComputeKernel.DENSE.value,)
    fused = (EmbeddingComputeKernel.FUSED.value,)
    # The dense kernel sums bags; see above.
    return fused if unpooled else (*fused, EmbeddingComputeKernel.DENSE.value)


class AllShardingTypes(EmbeddingBagCollectionSharder):
    """Offers every sharding type on every device.

    TorchRec's sharder does not offer row-wise types on CPU, although they run on gloo
    (tests/integration/sharding/test_every_plan.py compares every type with one process).
    """

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(SHARDING_TYPES)


class AllUnpooledTypes(EmbeddingCollectionSharder):
    """Offers the types that an EmbeddingCollection supports, on every device."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(UNPOOLED_TYPES)


def all_sharders(codecs: Mapping[str, Any] | None = None) -> list[ModuleSharder[Any]]:
    """Return one sharder per kind of collection. `codecs`: TorchRec's codecs by exchange."""
    return [
        AllShardingTypes(qcomm_codecs_registry=codecs),
        AllUnpooledTypes(qcomm_codecs_registry=codecs),
    ]


class _ScaledCodec(QuantizedCommCodec):
    """FBGEMM's codec, dividing by the scale after decoding.

    FBGEMM 1.8 divides in fp16, where small values underflow to 0 again
    (tests/embeddings/test_sharders.py).
    """

    def __init__(self, comm_precision: SparseType, scale: float) -> None:
        super().__init__(comm_precision)
        self._scale = scale

    def encode(self, input_tensor: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        return super().encode(input_tensor * self._scale, ctx)

    def decode(self, input_tensor: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        return super().decode(input_tensor, ctx) / self._scale


def sent_as(forward: CommDType, backward: CommDType, rows: int) -> Mapping[str, Any] | None:
    """Return TorchRec's codecs by exchange; None without quantization.

    TorchRec's get_qcomm_codecs_registry replaces bf16 by fp16 on CPU, because gloo once did not
    support it. Gradients of a mean over `rows` rows are near 1 / rows, which for thousands of rows
    is below fp16's smallest normal number (6e-5). Therefore fp16 gradients are multiplied by
    `rows`, rounded up to a power of two.
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
