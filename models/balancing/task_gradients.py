"""Gradients of each task's loss with respect to the shared tensors: tower and input."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.balancing.global_batch import GlobalBatch


class Shared(NamedTuple):
    """Tensors of the current forward pass that the tasks share."""

    v_BF: Tensor
    """The tower's input."""
    num_pooled: int
    """Its first columns, the pooled embeddings; the others have no trainable weights below."""
    parameters: Sequence[Tensor]
    """Parameters of the tower."""


def gradients(losses_T: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return this process's gradient of each task's loss, [T, *shape] for each input.

    Runs T backward passes over a retained graph. Nothing is added to `.grad`, so DDP and the tables
    (whose optimizer runs in backward) are not affected.
    """
    rows = [
        torch.autograd.grad(loss, inputs, retain_graph=True, materialize_grads=True)
        for loss in losses_T.unbind()
    ]
    return [torch.stack(of_input) for of_input in zip(*rows, strict=True)]


def pooled_norms(losses_T: Tensor, shared: Shared, batch: GlobalBatch) -> Tensor:
    """Return this process's sum of squares of the gradient of the pooled embeddings, [T].

    The loss is the mean over parts, but with synchronized statistics a part's rows get the gradient
    of the sum over parts: hence the division.
    """
    (dv_TBF,) = gradients(losses_T, [shared.v_BF])
    return dv_TBF[..., : shared.num_pooled].square().sum((1, 2)) / batch.parts


def gram(losses_T: Tensor, shared: Shared, batch: GlobalBatch) -> Tensor:
    """Return the inner products [T, T] of the tasks' gradients of the GLOBAL batch's losses.

    A task's gradient is one vector: with respect to the pooled embeddings of all rows of all ranks
    and to the tower's parameters. Collective; all ranks get the same matrix.
    """
    dv_TBF, *parts = gradients(losses_T, [shared.v_BF, *shared.parameters])
    dv_TK = dv_TBF[..., : shared.num_pooled].flatten(1)
    products_TT = dv_TK @ dv_TK.T / batch.parts  # see pooled_norms
    weights_TP = torch.cat([part.flatten(1).to(dv_TK.dtype) for part in parts], dim=1)
    num_tasks = len(losses_T)
    means = batch.mean(torch.cat([products_TT, weights_TP], dim=1))
    products_TT, weights_TP = means[:, :num_tasks], means[:, num_tasks:]
    return products_TT + weights_TP @ weights_TP.T
