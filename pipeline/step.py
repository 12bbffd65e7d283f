"""One step's arithmetic: a batch to its loss. The loss stays outside the model that is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from models.balance import Balance
from models.label_weights import LabelWeights
from models.losses import known_shares, task_losses
from models.ranker import Head, Ranker
from pipeline.batch import Batch


@dataclass(slots=True)
class StepOutput:
    """What the loop needs to know of a step, detached."""

    losses_T: Tensor
    """By the model's own logits, unweighted: whatever was minimised, they compare."""
    logits_BT: Tensor
    batch: Batch
    task_weights_T: Tensor | None
    """Those the balance chose for this step; None in evaluation."""


class Loss(nn.Module):
    """Labels and logits to the total loss. A module of its own, so that TorchRec's tracer takes it
    whole (see Head)."""

    def __init__(self, balance: Balance, head: Head, label_weights: LabelWeights | None) -> None:
        super().__init__()
        self.balance = balance
        self.label_weights = label_weights
        self.note: Callable[[Tensor, Tensor], None] | None = None
        """Given the losses [T] and the total of each training step, detached, before backward."""
        # The method alone: as a submodule the head would be in the model twice.
        self._shared = head.shared
        head.keeps_input = balance.takes_gradients

    def forward(self, logits_BT: Tensor, batch: Batch) -> tuple[Tensor, StepOutput]:
        labels_BT, weights_BT = batch.labels, batch.weights[:, None]
        losses_T = task_losses(logits_BT, labels_BT, weights_BT)
        output = StepOutput(losses_T.detach(), logits_BT.detach(), batch, None)
        if not self.training:
            return losses_T.sum(), output
        if self.label_weights is not None:
            weights_BT = self.label_weights(labels_BT, batch.weights)
            shifted_BT = logits_BT + self.label_weights.shift_T
            losses_T = task_losses(shifted_BT, labels_BT, weights_BT)
        shares_T = known_shares(labels_BT, weights_BT)
        total, output.task_weights_T = self.balance(losses_T, shares_T, self._shared)
        if self.note is not None:
            self.note(output.losses_T, total.detach())
        return total, output


class Step(nn.Module):
    """Batch -> (total loss, StepOutput): the form that TorchRec's train pipelines expect."""

    def __init__(self, model: Ranker, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Batch) -> tuple[Tensor, StepOutput]:
        result: tuple[Tensor, StepOutput] = self.loss(self.model(batch.sparse, batch.dense), batch)
        return result
