"""The first layer of a ranker: maps raw columns to table rows and normalized numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # scoring uses this module without TorchRec
    from torchrec import KeyedJaggedTensor

_BLOCK = 1024
"""Rows; 116 numbers of so many rows fit in a core's second-level cache."""


class IdRange(NamedTuple):
    """Rows of a feature's table."""

    vocab_size: int
    hash_rows: int
    """Rows after the vocabulary, shared by ids outside it; 0: such ids are errors."""


class InputLayer(nn.Module):
    """Maps ids outside a vocabulary to the table's hash rows, and normalizes numbers.

    A module, so that a model can accept raw columns. In training, the reader's threads apply `fold`
    and `normalize` ahead of time.

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
        """The smallest integer type that can index every row of every table."""
        for name, part in (("mean_N", 0), ("std_N", 1)):
            values = torch.tensor([pair[part] for pair in dense], dtype=torch.float32, device="cpu")
            self.register_buffer(name, values, persistent=False)  # stored in the data's schema

    def fold(self, feature: str, ids: Tensor) -> Tensor:
        """Return rows of the feature's table for non-negative ids, int64 of any shape."""
        vocab_size, hash_rows = self.ids[feature]
        if not hash_rows:
            return ids
        return torch.where(ids < vocab_size, ids, vocab_size + (ids - vocab_size) % hash_rows)

    def normalize(self, dense_BN: Tensor) -> Tensor:
        """Subtract the mean and divide by the standard deviation; NaN (missing) becomes 0."""
        return _without_nan_(dense_BN.sub(self.mean_N).div_(self.std_N))

    def normalize_columns(self, dense_NB: Tensor) -> Tensor:
        """Return `normalize` of columns that are dense, as rows that are dense.

        By blocks of rows, so that they are transposed while they are in cache.
        """
        num_columns, num_rows = dense_NB.shape
        out_BN = dense_NB.new_empty(num_rows, num_columns)
        mean_N1, std_N1 = self.mean_N[:, None], self.std_N[:, None]
        parts = zip(torch.split(dense_NB, _BLOCK, dim=1), torch.split(out_BN, _BLOCK), strict=True)
        for part_NB, part_BN in parts:
            part_BN.copy_(_without_nan_((part_NB - mean_N1).div_(std_N1)).t())
        return out_BN

    def forward(
        self, sparse: KeyedJaggedTensor, dense_BN: Tensor
    ) -> tuple[KeyedJaggedTensor, Tensor]:
        """Map raw ids and numbers to the fields of `Batch`: table rows and normalized numbers."""
        from torchrec import KeyedJaggedTensor

        keys = sparse.keys()
        parts = torch.split(sparse.values(), sparse.length_per_key())
        values = torch.cat([self.fold(key, ids) for key, ids in zip(keys, parts, strict=True)])
        rows = KeyedJaggedTensor(
            keys=keys,
            values=values.to(self.id_dtype),
            weights=sparse.weights_or_none(),
            lengths=sparse.lengths().int(),
            stride=sparse.stride(),
        )
        return rows, self.normalize(dense_BN)


def _without_nan_(values: Tensor) -> Tensor:
    return values.nan_to_num_(nan=0.0, posinf=math.inf, neginf=-math.inf)
