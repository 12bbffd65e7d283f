"""Cost of averaging the replicas of 2D parallelism (TorchRec's DMPCollection).

Every `sync_every` steps DMPCollection.sync() averages weights, then optimizer state, over the ranks
that have the same shard. TorchRec does not estimate this. Here a ring all-reduce of n ranks sends
and receives 2 (n - 1) / n of the bytes (Patarasuk and Yuan, 2009) over its slowest link.
"""

from __future__ import annotations

import numpy as np
import torch

from embeddings.config import DATA_PARALLEL
from embeddings.optimizer_mark import marked_optimizer
from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.costs import GBS
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.problem.options import Options

_IN_HOST_MEMORY = ("fused_uvm", "fused_uvm_caching")


def sync_ms(options: Options, setup: TrainingSetup, cluster: Cluster) -> FloatArray:
    """Return milliseconds per step for the largest shard of each option, [N].

    `cluster` covers all groups. Data-parallel tables cost nothing here, because their gradients are
    averaged over all ranks in every step. Raises ValueError for an optimizer whose state
    DMPCollection cannot average.
    """
    groups = setup.replica_groups
    if groups == 1:
        return np.zeros(len(options.options))
    link = cluster.intra_bw if setup.copies_within_host(cluster) else cluster.inter_bw
    found = []
    for n, option in enumerate(options.options):
        model_table = options.tables[option.table]
        speed = link
        if option.kernel in _IN_HOST_MEMORY:
            speed = min(link, cluster.host_device_bw)
        size = shard_bytes(model_table.name, model_table.tensor, int(options.rows[n]), option.width)
        moved = 0.0 if option.sharding_type == DATA_PARALLEL else size * 2 * (groups - 1) / groups
        found.append(moved / (speed * GBS) / setup.sync_every)
    return np.array(found)


def shard_bytes(name: str, tensor: torch.Tensor, rows: int, columns: int) -> int:
    """Return bytes of weights and of the optimizer state that DMPCollection averages."""
    # Torch and TorchRec have classes of the same name.
    state = {"RowWiseAdagrad": 4 * rows, "Adagrad": 4 * rows * columns, "SGD": 0}
    kind = marked_optimizer(tensor).__name__
    if kind not in state:
        raise ValueError(
            f"replica_groups: table {name!r} has optimizer {kind}, and TorchRec 1.8's "
            "DMPCollection averages only the state of rowwise_adagrad, adagrad and sgd"
        )
    return rows * columns * tensor.element_size() + state[kind]
