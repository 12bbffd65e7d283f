"""One step's arithmetic: a batch to its loss. The loss stays outside the model that is exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.losses import multi_task_loss
from models.ranker import Ranker
from pipeline.batch import Batch


@dataclass(slots=True)
class StepOutput:
    """What the loop needs to know of a step, detached."""

    losses_T: Tensor
    logits_BT: Tensor
    batch: Batch


class _Loss(nn.Module):
    """Its own module, so that TorchRec's tracer takes it whole (see Head)."""

    task_weights: Tensor

    def __init__(self, task_weights: Sequence[float]) -> None:
        super().__init__()
        weights = torch.tensor(task_weights, device="cpu")
        self.register_buffer("task_weights", weights, persistent=False)

    def forward(self, logits_BT: Tensor, batch: Batch) -> tuple[Tensor, StepOutput]:
        total, losses_T = multi_task_loss(logits_BT, batch.labels, batch.weights, self.task_weights)
        return total, StepOutput(losses_T, logits_BT.detach(), batch)


class Step(nn.Module):
    """Batch -> (total loss, StepOutput): the form that TorchRec's train pipelines expect."""

    def __init__(self, model: Ranker, task_weights: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.loss = _Loss(task_weights)

    def forward(self, batch: Batch) -> tuple[Tensor, StepOutput]:
        result: tuple[Tensor, StepOutput] = self.loss(self.model(batch.sparse, batch.dense), batch)
        return result
