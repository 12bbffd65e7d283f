"""Runs the tower in micro-batches, so that memory holds the activations of only one.

The tables are looked up once for all rows and updated once: their optimizer, which runs inside
backward, gets the gradient of the whole step. Suffixes: B rows of a step, F the tower's input,
T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.ranker import Head
from pipeline.data.batch import Batch
from pipeline.training.step import Loss, StepOutput


class MicroBatches(nn.Module):
    """Computes `Loss(Head(..))` by micro-batch; its gradients are equal up to rounding.

    Each micro-batch runs forward, then backward. The gradients of the tower's input and of the
    weights are accumulated, and the backward of the step returns them once, as hooks and
    DistributedDataParallel expect. Batch norms use the statistics of each micro-batch.

    Args:
        rows: maximum number of rows per micro-batch. Sizes differ by at most one row.
    """

    def __init__(self, head: Head, loss: Loss, rows: int) -> None:
        super().__init__()
        # Not as submodules: they would be in the model twice.
        self._parts: Callable[[], tuple[Head, Loss]] = lambda: (head, loss)
        self._rows = rows

    def forward(
        self, pooled: Any, embedded: Any, sparse: Any, batch: Batch
    ) -> tuple[Tensor, StepOutput]:
        head, loss = self._parts()
        count = -(-len(batch.weights) // self._rows)
        if not self.training or count == 1:
            result: tuple[Tensor, StepOutput] = loss(
                head(pooled, embedded, sparse, batch.dense), batch
            )
            return result
        v_BF = head.tower_input(pooled, embedded, sparse, batch.dense)
        rows_B1, weights_BT = loss.weights_of(batch)
        columns = [
            torch.tensor_split(part, count)
            for part in (v_BF.detach(), batch.labels, rows_B1, weights_BT)
        ]
        weights = [p for part in (head.tower, loss) for p in part.parameters() if p.requires_grad]
        logits: list[Tensor] = []
        outputs: list[tuple[Tensor, Tensor]] = []

        def loss_of(number: int, input_BF: Tensor) -> Tensor:
            """Its part of the step's loss: each divides by its own rows."""
            _, labels_BT, row_weights_B1, label_weights_BT = (part[number] for part in columns)
            share = len(labels_BT) / len(batch.weights)
            logits_BT = head.logits(input_BF)
            losses_T, total, weights_T = loss.of(
                logits_BT, labels_BT, row_weights_B1, label_weights_BT
            )
            logits.append(logits_BT.detach())
            outputs.append((losses_T * share, weights_T))
            return total * share

        total = _Collected.apply(loss_of, columns[0], v_BF, *weights)  # type: ignore[no-untyped-call]
        losses_T = torch.stack([losses_T for losses_T, _ in outputs]).sum(0)
        return total, StepOutput(losses_T, torch.cat(logits), batch, rows_B1, outputs[-1][1])


class _Collected(torch.autograd.Function):
    """Sums the losses of all micro-batches, and runs their backward during forward."""

    @staticmethod
    def forward(
        ctx: Any,
        loss_of: Callable[[int, Tensor], Tensor],
        inputs: Sequence[Tensor],
        v_BF: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        total = torch.zeros((), device=v_BF.device)
        gradient_BF = torch.empty_like(v_BF)
        collected: list[Tensor | None] = [None] * len(weights)
        begin = 0
        for number, values in enumerate(inputs):
            with torch.enable_grad():
                leaf = values.detach().requires_grad_()
                loss = loss_of(number, leaf)
            own, *rest = torch.autograd.grad(loss, (leaf, *weights), allow_unused=True)
            gradient_BF[begin : begin + len(values)] = 0 if own is None else own
            begin += len(values)
            total += loss.detach()
            for at, gradient in enumerate(rest):
                if gradient is None:
                    continue
                if (sum_so_far := collected[at]) is None:
                    collected[at] = gradient.clone()
                else:
                    sum_so_far.add_(gradient)
        ctx.gradients = (gradient_BF, *collected)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, ()
        return (
            None,
            None,
            *(None if part is None else part.mul_(factor) for part in gradients),
        )
