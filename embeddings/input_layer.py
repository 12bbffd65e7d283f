"""The first layer of a ranker: raw columns to rows of tables and normalised numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchrec import KeyedJaggedTensor


class IdRange(NamedTuple):
    """Rows of the table that a feature's ids index."""

    vocab_size: int
    hash_rows: int
    """Rows behind the vocabulary, shared by the ids outside it; 0: such ids are errors."""


class InputLayer(nn.Module):
    """Ids outside a vocabulary go to its table's hash rows, numbers are normalised.

    A module, so that a model with it reads raw columns. In training the reader's threads apply
    `fold` and `normalise` ahead of time.

    Args:
        ids: by feature.
        dense: mean and standard deviation of each dense column.
    """

    mean_N: Tensor
    std_N: Tensor

    def __init__(self, ids: Mapping[str, IdRange], dense: Sequence[tuple[float, float]]) -> None:
        super().__init__()
        self.ids = dict(ids)
        rows = max(sum(part) for part in self.ids.values())
        self.id_dtype = torch.int32 if rows <= torch.iinfo(torch.int32).max else torch.int64
        """The narrowest that numbers every row of every table."""
        for name, part in (("mean_N", 0), ("std_N", 1)):
            values = torch.tensor([pair[part] for pair in dense], dtype=torch.float32, device="cpu")
            self.register_buffer(name, values, persistent=False)  # the data's schema keeps them

    def fold(self, feature: str, ids: Tensor) -> Tensor:
        """Rows of the feature's table for ids from 0 on, int64 of any shape."""
        vocab_size, hash_rows = self.ids[feature]
        if not hash_rows:
            return ids
        return torch.where(ids < vocab_size, ids, vocab_size + (ids - vocab_size) % hash_rows)

    def normalise(self, dense_BN: Tensor) -> Tensor:
        """Numbers minus their mean, over their standard deviation; NaN (missing) becomes 0."""
        normalised_BN = (dense_BN - self.mean_N) / self.std_N
        return normalised_BN.where(~dense_BN.isnan(), 0.0)

    def forward(
        self, sparse: KeyedJaggedTensor, dense_BN: Tensor
    ) -> tuple[KeyedJaggedTensor, Tensor]:
        """Raw ids and numbers to what `Batch` holds: rows of tables, normalised numbers."""
        keys = sparse.keys()
        parts = torch.split(sparse.values(), sparse.length_per_key())
        values = torch.cat([self.fold(key, ids) for key, ids in zip(keys, parts, strict=True)])
        rows = KeyedJaggedTensor(
            keys=keys,
            values=values.to(self.id_dtype),
            lengths=sparse.lengths().int(),
            stride=sparse.stride(),
        )
        return rows, self.normalise(dense_BN)
