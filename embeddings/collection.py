"""Tables -> EmbeddingBagCollection on meta: shapes without memory, which sharding allocates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchrec.modules.embedding_configs import DataType, EmbeddingBagConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from embeddings.features import Table

_DTYPES = {"fp32": DataType.FP32, "fp16": DataType.FP16}
_POOLINGS = {"sum": PoolingType.SUM, "mean": PoolingType.MEAN}


def build_collection(tables: Sequence[Table]) -> EmbeddingBagCollection:
    """One collection of all tables: one fused lookup and one exchange for every feature."""
    return EmbeddingBagCollection(
        tables=[
            EmbeddingBagConfig(
                name=table.name,
                num_embeddings=table.rows,
                embedding_dim=table.dim,
                feature_names=list(table.features),
                data_type=_DTYPES[table.dtype],
                pooling=_POOLINGS[table.pooling],
            )
            for table in tables
        ],
        device=torch.device("meta"),
    )
