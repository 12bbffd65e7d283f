"""One step's arithmetic: a batch to its loss. The loss is not part of the model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.balancing.balance import Balance
from models.balancing.label_weights import LabelWeights
from models.losses import known_shares, task_losses
from models.ranker import Head, Ranker
from pipeline.data.batch import Batch


@dataclass(slots=True)
class StepOutput:
    """What the loop needs to know of a step, detached."""

    losses_T: Tensor
    """By the model's own logits, unweighted: whatever was minimised, they compare."""
    logits_BT: Tensor
    batch: Batch
    task_weights_T: Tensor | None
    """Those the balance chose for this step; None in evaluation."""
    skipped: bool = False
    """Whether the batch was rejected, and no weight has moved."""

    def mark_skipped(self) -> None:
        """Note that the batch was rejected."""
        self.skipped = True


class Loss(nn.Module):
    """Labels and logits to the total loss. A module of its own, so that TorchRec's tracer takes it
    whole (see Head)."""

    def __init__(self, balance: Balance, head: Head, label_weights: LabelWeights | None) -> None:
        super().__init__()
        self.balance = balance
        self.label_weights = label_weights
        # The method alone: as a submodule the head would be in the model twice.
        self._shared = head.shared

    def forward(self, logits_BT: Tensor, batch: Batch) -> tuple[Tensor, StepOutput]:
        row_weights_B1 = batch.weights[:, None]
        if not self.training:
            losses_T = task_losses(logits_BT, batch.labels, row_weights_B1)
            return losses_T.sum(), StepOutput(losses_T.detach(), logits_BT.detach(), batch, None)
        losses_T, total, weights_T = self.of(
            logits_BT, batch.labels, row_weights_B1, self.label_weights_of(batch)
        )
        return total, StepOutput(losses_T, logits_BT.detach(), batch, weights_T)

    def label_weights_of(self, batch: Batch) -> Tensor:
        """What the labels of a training step count, [B, T] or [B, 1]. To be asked once a step."""
        if self.label_weights is None:
            return batch.weights[:, None]
        weights_BT: Tensor = self.label_weights(batch.labels, batch.weights)
        return weights_BT

    def of(
        self, logits_BT: Tensor, labels_BT: Tensor, row_weights_B1: Tensor, weights_BT: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses [T] (unweighted, detached), the total of these rows, and the tasks' weights."""
        losses_T = task_losses(logits_BT, labels_BT, row_weights_B1)
        unweighted_T = losses_T.detach()
        if self.label_weights is not None:
            shifted_BT = logits_BT + self.label_weights.shift_T
            losses_T = task_losses(shifted_BT, labels_BT, weights_BT)
        shares_T = known_shares(labels_BT, weights_BT)
        total, weights_T = self.balance(losses_T, shares_T, self._shared)
        return unweighted_T, total, weights_T


class Step(nn.Module):
    """Batch -> (total loss, StepOutput): the form that TorchRec's train pipelines expect."""

    def __init__(self, model: Ranker, loss: Loss, micro_batches: nn.Module | None = None) -> None:
        """`micro_batches`: MicroBatches if train.micro_batch_size is set."""
        super().__init__()
        self.model = model
        self.loss = loss
        self.micro_batches = micro_batches
        self.result = nn.Identity()
        """(total loss, StepOutput) of every step, before its backward: a place for forward hooks.

        Step itself is none: TorchRec's pipelines trace it with its hooks."""

    def forward(self, batch: Batch) -> tuple[Tensor, StepOutput]:
        result: tuple[Tensor, StepOutput]
        if self.micro_batches is None:
            result = self.loss(self.model(batch.sparse, batch.dense), batch)
        else:
            result = self.micro_batches(*self.model.look_up(batch.sparse), batch.sparse, batch)
        result = self.result(result)
        return result
