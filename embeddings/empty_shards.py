"""Shards without rows, which a row-wise plan leaves on some ranks if a table has few rows.

FBGEMM 1.8 on CPU mishandles them twice:
- Its backward finds the rows of a table by looking for the next larger entry of
  `hash_size_cumsum`. Behind the last table there is none if that table has no rows here, and it
  reads on past the end: a step then fails with "more than 2B rows", or does not, by what lies in
  memory.
- It tells a CPU kernel by its weights. One whose tables all have no rows here has none and is taken
  for a GPU's: "weights[0] must be a GPU or MTIA tensor".
"""

from __future__ import annotations

import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    SplitTableBatchedEmbeddingBagsCodegen,
)
from torch import nn

from embeddings.lookups import lookups


def pad_empty_shards(model: nn.Module) -> None:
    """Make every fused kernel on CPU end in a row that no id of this rank falls into.

    The row counts gain a larger entry behind the last table, and weights without any row gain one,
    which is part of no table: a checkpoint does not have it.
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
            # A parameter, as weights with rows are: without a gradient this rank would leave out
            # the exchange of gradients that its peers wait in.
            del kernel.weights_host
            kernel.weights_host = nn.Parameter(weights.new_zeros(kernel.max_D))
