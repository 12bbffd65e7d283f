"""Builds collections of tables on the meta device; sharding allocates their memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchrec.modules.embedding_configs import (
    DataType,
    EmbeddingBagConfig,
    EmbeddingConfig,
    PoolingType,
)
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection

from embeddings.features import EmbeddingTable

_DTYPES = {"fp32": DataType.FP32, "fp16": DataType.FP16, "bf16": DataType.BF16}


def build_bags(
    tables: Sequence[EmbeddingTable], *, weighted: bool = False
) -> EmbeddingBagCollection | None:
    """Build one collection of the pooled tables, with one fused lookup and one exchange.

    All bags are summed here, and the model's head divides those with mean pooling by their lengths:
    TorchRec 1.8 averages incorrectly under grid_shard (each rank's part by its own length), and
    under row-wise types divides every column of every feature by length + 1e-6.
    `weighted`: ids have weights, of which bags are weighted sums. All of the collection or none
    have them in TorchRec, so features without weights get ones. The head's division by the length
    is FBGEMM's weighted mean.
    Returns None if there are no pooled tables.
    """
    pooled = [table for table in tables if not table.unpooled]
    configs = [EmbeddingBagConfig(**_fields(table), pooling=PoolingType.SUM) for table in pooled]
    if not configs:
        return None
    return EmbeddingBagCollection(configs, device=torch.device("meta"), is_weighted=weighted)


def build_rows(tables: Sequence[EmbeddingTable]) -> EmbeddingCollection | None:
    """Build one collection of the unpooled tables, which must have equal dims; None if none."""
    configs = [EmbeddingConfig(**_fields(table)) for table in tables if table.unpooled]
    return EmbeddingCollection(configs, device=torch.device("meta")) if configs else None


def _fields(table: EmbeddingTable) -> dict[str, Any]:
    return collection_fields(table.name, table.rows, table.dim, table.features, table.dtype)


def collection_fields(
    name: str, rows: int, dim: int, features: Sequence[str], dtype: str
) -> dict[str, Any]:
    """The arguments that EmbeddingBagConfig and EmbeddingConfig share."""
    return {
        "name": name,
        "num_embeddings": rows,
        "embedding_dim": dim,
        "feature_names": list(features),
        "data_type": _DTYPES[dtype],
    }
