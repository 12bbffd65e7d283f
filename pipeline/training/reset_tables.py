"""Tables that are reset at the beginning of each epoch.

In a second pass large tables have memorised the rows of the first, and validation metrics fall.
With the tower kept and those tables reset to new first values, each pass teaches it as the first
one did (Fan et al., Multi-Epoch Learning for Deep CTR Prediction, arXiv 2305.19531).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from embeddings.features import EmbeddingTable
from pipeline.config.tree import Config
from pipeline.training.optimizer_shards import local_tables
from pipeline.training.parallelize import Parallel, fill_tables


@torch.no_grad()
def reset_tables(
    parallel: Parallel, tables: Sequence[EmbeddingTable], config: Config, epoch: int
) -> None:
    """Reset tables to the first values of `epoch`, the same under every plan, without optimizer
    state.

    The pipeline must be drained.
    """
    chosen = [table for table in tables if table.rows >= config.sparse.reset_min_rows > 0]
    fill_tables(parallel.model, chosen, config, epoch=epoch)
    names = {table.name for table in chosen}
    for table in local_tables(parallel.model, parallel.optimizer):
        for shard in table.shards if table.name in names else ():
            shard.sums.zero_()
