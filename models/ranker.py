"""Embeddings and tower in one module: what trains, and what is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.average import average_of
from models.probe import Probe
from models.task_gradients import Shared


class Head(nn.Module):
    """Pooled embeddings and dense numbers to logits.

    A module of its own because TorchRec's pipelines trace the part of a model around its sharded
    modules symbolically: in here, plain Python on real tensors.

    Args:
        tower: [B, F] -> [B, T], with F the widths of all features plus the dense ones.
        keys: the features, in the order in which the tower sees them.
        prior: [T], each task's logit before anything is known (the base rate's), so that training
            need not find it out; rare tasks would take hundreds of steps.
        averaged: the features whose bags, summed by the tables, are to be averaged.
        bf16: compute the tower under bfloat16 autocast.
    """

    prior: Tensor

    def __init__(
        self,
        tower: nn.Module,
        keys: Sequence[str],
        *,
        prior: Sequence[float],
        averaged: Sequence[str] = (),
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("prior", torch.tensor(prior, device="cpu"))
        self._keys = list(keys)
        self._averaged = set(averaged)
        self._bf16 = bf16
        self.probe: Probe | None = None
        """Set to an empty one to look inside the tower, which then runs uncompiled."""
        self.keeps_input = False
        """Whether a training step keeps the tower's input for `shared`."""
        self._input_BF: Tensor | None = None
        self.average: AveragedModel | None = None
        """The tower that evaluations use instead, if there is one."""

    def keep_average(self, decay: float) -> None:
        """Evaluate a moving average of the tower from here on (see `average_of`)."""
        self.average = average_of(self.tower, decay)

    def compile_tower(self) -> None:
        """torch.compile of what trains and of what is evaluated. After `keep_average`."""
        self.tower.compile()
        if self.average is not None:
            self.average.module.compile()

    def update_average(self) -> None:
        """After every training step; nothing where no average is kept."""
        if self.average is not None:
            self.average.update_parameters(self.tower)

    def forward(self, pooled: Any, sparse: Any, dense_BN: Tensor) -> Tensor:
        """KeyedTensor, the KeyedJaggedTensor it came from, and [B, N] to float32 logits [B, T]."""
        v_BF = self._concat(pooled, sparse, dense_BN)
        if self.keeps_input and self.training:
            self._input_BF, self._num_pooled = v_BF, v_BF.shape[1] - dense_BN.shape[1]
        average = None if self.training else self.average
        tower = self.tower if average is None else average.module
        with torch.autocast(v_BF.device.type, torch.bfloat16, enabled=self._bf16):
            if self.probe is None:
                logits_BT: Tensor = tower(v_BF)
            else:
                logits_BT = tower.forward(v_BF, self.probe)
        return logits_BT.float() + self.prior

    def shared(self) -> Shared:
        """What the tasks share in the forward pass that has just ended. To be taken once."""
        v_BF, self._input_BF = self._input_BF, None
        assert v_BF is not None, "keeps_input was not set, or no training step has run"
        return Shared(v_BF, self._num_pooled, list(self.tower.parameters()))

    def _concat(self, pooled: Any, sparse: Any, dense_BN: Tensor) -> Tensor:
        """The tower's input [B, F].

        Features are taken by key: a sharded collection's values stand in its plan's order.
        """
        by_key = pooled.to_dict()
        lengths_KB = sparse.lengths().view(-1, dense_BN.shape[0])
        # An empty bag is zero, and stays zero.
        shares_KB = lengths_KB.clamp(min=1).to(dense_BN.dtype).reciprocal()
        share_of = dict(zip(sparse.keys(), shares_KB.unbind(), strict=True))
        columns = []
        for key in self._keys:
            column = by_key[key].to(dense_BN.dtype)
            columns.append(column * share_of[key][:, None] if key in self._averaged else column)
        return torch.cat([*columns, dense_BN], dim=1)


class Ranker(nn.Module):
    """Sparse ids and dense numbers to one logit a task.

    Args:
        embeddings: KeyedJaggedTensor -> KeyedTensor (an EmbeddingBagCollection, sharded or not).
        head: KeyedTensor, KeyedJaggedTensor, dense -> logits.
    """

    def __init__(self, embeddings: nn.Module, head: Head) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.head = head

    def forward(self, sparse: Any, dense_BN: Tensor) -> Tensor:
        """Logits [B, T]."""
        logits_BT: Tensor = self.head(self.embeddings(sparse), sparse, dense_BN)
        return logits_BT
