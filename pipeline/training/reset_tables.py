"""Tables that begin each epoch anew.

In a second pass large tables know rows by heart from the first, and validation figures fall. With
the tower kept and those tables begun again from new first values, each pass teaches it as the
first one did (Fan et al., Multi-Epoch Learning for Deep CTR Prediction, arXiv 2305.19531).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from embeddings.features import EmbeddingTable
from pipeline.config.tree import Config
from pipeline.training.optimizer_shards import local_tables
from pipeline.training.parallelize import Parallel, fill_tables


@torch.no_grad()
def renew_tables(
    parallel: Parallel, tables: Sequence[EmbeddingTable], config: Config, epoch: int
) -> None:
    """Weights of the tables to renew as for `epoch`, the same under every plan; no optimizer state.

    The pipeline must be drained.
    """
    chosen = [table for table in tables if table.rows >= config.sparse.reset_min_rows > 0]
    fill_tables(parallel.model, chosen, config, epoch=epoch)
    names = {table.name for table in chosen}
    for table in local_tables(parallel.model, parallel.optimizer):
        for piece in table.pieces if table.name in names else ():
            piece.sums.zero_()
