"""Tables -> EmbeddingBagCollection on meta: shapes without memory, which sharding allocates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchrec.modules.embedding_configs import DataType, EmbeddingBagConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from embeddings.features import Table

_DTYPES = {"fp32": DataType.FP32, "fp16": DataType.FP16}


def build_collection(tables: Sequence[Table]) -> EmbeddingBagCollection:
    """One collection of all tables: one fused lookup and one exchange for every feature.

    Every bag is summed here, and those to be averaged are divided by their lengths in the model's
    head: TorchRec 1.8 averages wrongly under grid_shard (each rank's part by its own length), and
    under the row-wise types divides every column of every feature by length + 1e-6.
    """
    return EmbeddingBagCollection(
        tables=[
            EmbeddingBagConfig(
                name=table.name,
                num_embeddings=table.rows,
                embedding_dim=table.dim,
                feature_names=list(table.features),
                data_type=_DTYPES[table.dtype],
                pooling=PoolingType.SUM,
            )
            for table in tables
        ],
        device=torch.device("meta"),
    )
