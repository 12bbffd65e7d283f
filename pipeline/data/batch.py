"""`Batch`: the data of one training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchrec import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

NO_USER = -(2**63)
"""User of a row without a user."""


@dataclass(slots=True)
class Batch(Pipelineable):
    """B rows (impressions) of one rank.

    B is the same for every batch of a run: a short last batch is padded with rows of weight 0.
    TrainPipelineSparseDist moves a batch to the device (`to`) and ties its memory to a CUDA stream
    (`record_stream`).
    """

    dense: Tensor
    """[B, N] float32, normalized; 0 if missing."""
    sparse: KeyedJaggedTensor
    """One key per feature; values are table rows (int32; int64 for more than 2^31), stride B.
    With float32 weights (1 where a feature has none) if any feature has weights."""
    labels: Tensor
    """[B, T] float32, 0 or 1; NaN if missing."""
    weights: Tensor
    """[B] float32: weight of the row in loss and metrics, 1 in data without a weight column; 0 for
    padding rows, which both must ignore."""
    users: Tensor
    """[B] int64: groups rows for GAUC, which ignores those with NO_USER."""
    oracle: Tensor | None = None
    """[B, T] float32: true probability of each label; NaN for tasks without."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        return self._map(lambda part: part.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        return self._map(lambda part: part.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        if self.dense.device.type == "cpu":
            return  # CPU memory has no streams; TrainPipelineSemiSync calls this, too
        for part in (self.dense, self.sparse, self.labels, self.weights, self.users, self.oracle):
            if part is not None:
                part.record_stream(stream)

    # KeyedJaggedTensor and Tensor both have these methods, but no common type.
    def _map(self, verb: Callable[[Any], Any]) -> Batch:
        return Batch(
            dense=verb(self.dense),
            sparse=verb(self.sparse),
            labels=verb(self.labels),
            weights=verb(self.weights),
            users=verb(self.users),
            oracle=None if self.oracle is None else verb(self.oracle),
        )
