"""What one training step reads: `Batch`, the pipeline's unit of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchrec import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

NO_USER = -(2**63)
"""In place of the user of a row that has none."""


@dataclass(slots=True)
class Batch(Pipelineable):
    """B rows (impressions) of one rank.

    B is the same for every batch of a run: a short last batch is filled up with rows of weight 0.
    TrainPipelineSparseDist moves a batch to the device (`to`) and ties its memory to a CUDA stream
    (`record_stream`).
    """

    dense: Tensor
    """[B, N] float32, normalised; 0 where the value is missing."""
    sparse: KeyedJaggedTensor
    """One key a feature, values rows of its table (int32; int64 for more than 2^31), stride B."""
    labels: Tensor
    """[B, T] float32, 0 or 1; NaN where missing."""
    weights: Tensor
    """[B] float32: 1, or 0 for a padding row, which loss and metrics must ignore."""
    users: Tensor
    """[B] int64: groups rows for GAUC, which leaves out those of NO_USER."""
    oracle: Tensor | None = None
    """[B, T] float32: the true probability of each label; NaN for a task that has none."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        return self._map(lambda part: part.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        return self._map(lambda part: part.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        if self.dense.device.type == "cpu":
            return  # its memory knows no streams, and TrainPipelineSemiSync asks there, too
        for part in (self.dense, self.sparse, self.labels, self.weights, self.users, self.oracle):
            if part is not None:
                part.record_stream(stream)

    # A KeyedJaggedTensor and a Tensor have these verbs in common, but no type.
    def _map(self, verb: Callable[[Any], Any]) -> Batch:
        return Batch(
            dense=verb(self.dense),
            sparse=verb(self.sparse),
            labels=verb(self.labels),
            weights=verb(self.weights),
            users=verb(self.users),
            oracle=None if self.oracle is None else verb(self.oracle),
        )
