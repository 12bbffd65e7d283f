"""Shards without rows, which a row-wise plan leaves on some ranks if a table has few rows.

FBGEMM 1.8's backward on CPU finds the rows of a table by looking for the next larger entry of
`hash_size_cumsum`. Behind the last table there is none if that table has no rows here, and it reads
on past the end: a step then fails with "more than 2B rows", or does not, by what lies in memory.
"""

from __future__ import annotations

import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    SplitTableBatchedEmbeddingBagsCodegen,
)
from torch import nn

from embeddings.lookups import lookups


def end_row_counts(model: nn.Module) -> None:
    """Put one larger entry behind the last table of every fused kernel on CPU: a row too many for
    a table that no id of this rank falls into."""
    for kernel in (kernel for lookup in lookups(model) for kernel in lookup.modules()):
        if isinstance(kernel, SplitTableBatchedEmbeddingBagsCodegen):
            ends = kernel.hash_size_cumsum
            if ends.device.type == "cpu":
                kernel.hash_size_cumsum = torch.cat([ends, ends[-1:] + 1])
