"""Computes the loss of a batch. The loss is not part of the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.balancing.balance import Balance
from models.balancing.label_weights import LabelWeights
from models.layers.norm import BatchMean
from models.losses import known_shares, task_losses
from models.ranker import Head, Ranker
from pipeline.data.batch import Batch


@dataclass(slots=True)
class StepOutput:
    """Detached results of a step for the training loop."""

    losses_T: Tensor
    """Losses of the model's logits without weights of tasks and labels, comparable for all settings
    of the loss."""
    logits_BT: Tensor
    batch: Batch
    row_weights_B1: Tensor
    """Weights of the rows in the losses. In training on data with a weight column, their mean over
    the rows of all ranks is 1."""
    task_weights_T: Tensor | None
    """Task weights of the balance in this step; None in evaluation."""
    skipped: bool = False
    """Whether the batch was rejected, so that no weight changed."""

    def mark_skipped(self) -> None:
        """Note that the batch was rejected."""
        self.skipped = True


class Loss(nn.Module):
    """Maps labels and logits to the total loss. A separate module, so that TorchRec's tracer does
    not trace into it (see Head)."""

    def __init__(
        self,
        balance: Balance,
        head: Head,
        label_weights: LabelWeights | None,
        batch_mean: BatchMean | None = None,
    ) -> None:
        """`batch_mean`: for data with row weights, the mean over ranks."""
        super().__init__()
        self._batch_mean = batch_mean
        self.balance = balance
        self.label_weights = label_weights
        # Keep only the methods: as a submodule, the head would be in the model twice.
        self._shared, self._auxiliary_loss = head.shared, head.auxiliary_loss

    def forward(self, logits_BT: Tensor, batch: Batch) -> tuple[Tensor, StepOutput]:
        rows_B1 = batch.weights[:, None]
        logits = logits_BT.detach()
        if not self.training:
            losses_T = task_losses(logits_BT, batch.labels, rows_B1)
            return losses_T.sum(), StepOutput(losses_T.detach(), logits, batch, rows_B1, None)
        rows_B1, weights_BT = self.weights_of(batch)
        losses_T, total, weights_T = self.of(logits_BT, batch.labels, rows_B1, weights_BT)
        return total, StepOutput(losses_T, logits, batch, rows_B1, weights_T)

    def weights_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return weights of the rows [B, 1] and of the labels ([B, T] or [B, 1]) of a training
        step. Call once per step; a collective for data with row weights.

        A loss divides by the number of rows, so row weights are divided by their mean over all
        ranks: the mean over ranks is then sum(w l) / sum(w) over the global batch, and balances
        see weights with mean 1.
        """
        weights_B = batch.weights
        if self._batch_mean is not None:
            mean = self._batch_mean(weights_B.mean())
            weights_B = torch.where(mean > 0, weights_B / mean, 0.0)
        if self.label_weights is None:
            return weights_B[:, None], weights_B[:, None]
        return weights_B[:, None], self.label_weights(batch.labels, weights_B)

    def of(
        self, logits_BT: Tensor, labels_BT: Tensor, row_weights_B1: Tensor, weights_BT: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return unweighted detached losses [T], the total of these rows, and task weights."""
        losses_T = task_losses(logits_BT, labels_BT, row_weights_B1)
        unweighted_T = losses_T.detach()
        if self.label_weights is not None:
            shifted_BT = logits_BT + self.label_weights.shift_T
            losses_T = task_losses(shifted_BT, labels_BT, weights_BT)
        shares_T = known_shares(labels_BT, weights_BT)
        total, weights_T = self.balance(losses_T, shares_T, self._shared)
        # Not a task's: balances neither see nor weight it.
        if (auxiliary := self._auxiliary_loss()) is not None:
            total = total + auxiliary
        return unweighted_T, total, weights_T


class Step(nn.Module):
    """Batch -> (total loss, StepOutput), the interface of TorchRec's train pipelines."""

    def __init__(self, model: Ranker, loss: Loss, micro_batches: nn.Module | None = None) -> None:
        """`micro_batches`: MicroBatches if train.micro_batch_size is set."""
        super().__init__()
        self.model = model
        self.loss = loss
        self.micro_batches = micro_batches
        self.result = nn.Identity()
        """Identity on (total loss, StepOutput) before backward, as a place for forward hooks.

        Step itself cannot have hooks, because TorchRec's pipelines trace it with its hooks."""

    def forward(self, batch: Batch) -> tuple[Tensor, StepOutput]:
        result: tuple[Tensor, StepOutput]
        if self.micro_batches is None:
            result = self.loss(self.model(batch.sparse, batch.dense), batch)
        else:
            result = self.micro_batches(*self.model.look_up(batch.sparse), batch.sparse, batch)
        result = self.result(result)
        return result
