"""Works around FBGEMM bugs for empty shards, which row-wise plans of small tables have.

FBGEMM 1.8 on CPU has two bugs:
- Its backward determines the rows of a table from the next larger entry of `hash_size_cumsum`. If
  the last table has no rows here, there is no such entry and it reads past the end: depending on
  the memory there, a step fails with "more than 2B rows".
- It recognizes a CPU kernel by its weights. If all tables of a kernel have no rows here, there are
  none and it assumes a GPU: "weights[0] must be a GPU or MTIA tensor".
"""

from __future__ import annotations

import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    SplitTableBatchedEmbeddingBagsCodegen,
)
from torch import nn

from embeddings.lookups import lookups


def pad_empty_shards(model: nn.Module) -> None:
    """Append a row that no id refers to to every fused kernel on CPU.

    The cumulative row counts get a larger last entry, and empty weights get one row, which belongs
    to no table and is not saved in checkpoints.
    """
    for kernel in (kernel for lookup in lookups(model) for kernel in lookup.modules()):
        if not isinstance(kernel, SplitTableBatchedEmbeddingBagsCodegen):
            continue
        ends = kernel.hash_size_cumsum
        if ends.device.type != "cpu":
            continue
        kernel.hash_size_cumsum = torch.cat([ends, ends[-1:] + 1])
        weights = kernel.weights_host
        if not weights.numel():
            # Must be a parameter: without a gradient this rank would skip the exchange of gradients
            # in which its peers wait.
            del kernel.weights_host
            kernel.weights_host = nn.Parameter(weights.new_zeros(kernel.max_D))
