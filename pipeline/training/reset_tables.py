"""Resets tables at the start of each epoch.

In a second pass, large tables have memorized the rows of the first, and validation metrics drop. If
these tables are reset to new initial values and the tower is kept, each pass trains the tower like
the first one (Fan et al., Multi-Epoch Learning for Deep CTR Prediction, arXiv 2305.19531).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from embeddings.features import EmbeddingTable
from pipeline.config.tree import Config
from pipeline.training.optim.optimizer_shards import local_tables
from pipeline.training.parallelize import Parallel, fill_tables


@torch.no_grad()
def reset_tables(
    parallel: Parallel, tables: Sequence[EmbeddingTable], config: Config, epoch: int
) -> None:
    """Reset tables to the initial values of `epoch`, independent of the plan, and clear their
    optimizer state.

    The pipeline must be drained.
    """
    chosen = [table for table in tables if table.rows >= config.sparse.reset_min_rows > 0]
    fill_tables(parallel.model, chosen, config, epoch=epoch)
    names = {table.name for table in chosen}
    for table in local_tables(parallel.model, parallel.optimizer):
        for shard in table.shards if table.name in names else ():
            shard.sums.zero_()
