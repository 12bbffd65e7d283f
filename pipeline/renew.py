"""Tables that begin each epoch anew.

In a second pass large tables know rows by heart from the first, and validation figures fall. With
the tower kept and those tables begun again from new first values, each pass teaches it as the
first one did (Fan et al., Multi-Epoch Learning for Deep CTR Prediction, arXiv 2305.19531).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchrec.distributed.types import ShardedTensor

from embeddings.features import Table
from pipeline.config import Config
from pipeline.parallelize import Parallel, fill_tables


@torch.no_grad()
def renew_tables(parallel: Parallel, tables: Sequence[Table], config: Config, epoch: int) -> None:
    """Weights of the tables to renew as for `epoch`, the same under every plan; no optimizer state.

    The pipeline must be drained.
    """
    chosen = [table for table in tables if table.rows >= config.sparse.renew_rows > 0]
    fill_tables(parallel.model, chosen, config, epoch=epoch)
    names = {f".{table.name}.weight" for table in chosen}
    for part, optimizer in parallel.optimizer.optimizers:
        if part == "dense":
            continue
        for parameter, state in optimizer.state_dict()["state"].items():
            if not any(parameter.endswith(name) for name in names):
                continue
            for value in state.values():
                if isinstance(value, ShardedTensor):
                    for shard in value.local_shards():
                        shard.tensor.zero_()
                else:
                    value.zero_()
