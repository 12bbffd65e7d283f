"""Tables -> collections on meta: shapes without memory, which sharding allocates."""

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

_DTYPES = {"fp32": DataType.FP32, "fp16": DataType.FP16}


def build_bags(tables: Sequence[EmbeddingTable]) -> EmbeddingBagCollection | None:
    """One collection of the pooled tables: one fused lookup and one exchange for their features.

    Every bag is summed here, and those to be averaged are divided by their lengths in the model's
    head: TorchRec 1.8 averages wrongly under grid_shard (each rank's part by its own length), and
    under the row-wise types divides every column of every feature by length + 1e-6.
    None if there is no such table.
    """
    pooled = [table for table in tables if not table.unpooled]
    configs = [EmbeddingBagConfig(**_fields(table), pooling=PoolingType.SUM) for table in pooled]
    return EmbeddingBagCollection(configs, device=torch.device("meta")) if configs else None


def build_rows(tables: Sequence[EmbeddingTable]) -> EmbeddingCollection | None:
    """One collection of the unpooled tables, which must be equally wide; None if there is none."""
    configs = [EmbeddingConfig(**_fields(table)) for table in tables if table.unpooled]
    return EmbeddingCollection(configs, device=torch.device("meta")) if configs else None


def _fields(table: EmbeddingTable) -> dict[str, Any]:
    """What both kinds of collection need to know."""
    return {
        "name": table.name,
        "num_embeddings": table.rows,
        "embedding_dim": table.dim,
        "feature_names": list(table.features),
        "data_type": _DTYPES[table.dtype],
    }
