"""Embeddings and tower in one module: what trains, and what is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Ranker(nn.Module):
    """Sparse ids and dense numbers to one logit a task.

    Args:
        embeddings: KeyedJaggedTensor -> KeyedTensor (an EmbeddingBagCollection, sharded or not).
        tower: [B, F] -> [B, T], with F the widths of all features plus the dense ones.
        keys: the features, in the order in which the tower sees them.
    """

    def __init__(self, embeddings: nn.Module, tower: nn.Module, keys: Sequence[str]) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.tower = tower
        self._keys = list(keys)

    def embed(self, sparse: Any, dense_BN: Tensor) -> Tensor:
        """The tower's input [B, F].

        Features are taken by key: a sharded collection's values stand in its plan's order.
        """
        pooled = self.embeddings(sparse).to_dict()
        columns = [pooled[key].to(dense_BN.dtype) for key in self._keys]
        return torch.cat([*columns, dense_BN], dim=1)

    def forward(self, sparse: Any, dense_BN: Tensor) -> Tensor:
        """Logits [B, T]."""
        logits: Tensor = self.tower(self.embed(sparse, dense_BN))
        return logits
