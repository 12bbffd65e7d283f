"""Gradients of each task's loss on its own, where tasks share: the tower and its input."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.balancing.global_batch import GlobalBatch


class Shared(NamedTuple):
    """What the tasks share, of the forward pass under way."""

    v_BF: Tensor
    """The tower's input."""
    num_pooled: int
    """Its first columns, which are pooled embeddings; behind them nothing is learnt."""
    parameters: Sequence[Tensor]
    """The tower's."""


def gradients(losses_T: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """For each input, [T, *its shape]: this process's gradient of each task's loss.

    T backward passes over a graph that is kept. Nothing is added to `.grad`, so that neither DDP
    nor the tables, whose optimizer runs in backward, take notice.
    """
    rows = [
        torch.autograd.grad(loss, inputs, retain_graph=True, materialize_grads=True)
        for loss in losses_T.unbind()
    ]
    return [torch.stack(of_input) for of_input in zip(*rows, strict=True)]


def pooled_norms(losses_T: Tensor, shared: Shared, batch: GlobalBatch) -> Tensor:
    """[T]: this process's sum of squares, of the gradient on the pooled embeddings.

    The loss is the mean over parts of theirs, and a part's rows have their gradient of the sum
    over parts (synchronised statistics send one along): hence the division.
    """
    (dv_TBF,) = gradients(losses_T, [shared.v_BF])
    return dv_TBF[..., : shared.num_pooled].square().sum((1, 2)) / batch.parts


def gram(losses_T: Tensor, shared: Shared, batch: GlobalBatch) -> Tensor:
    """[T, T]: inner products of the tasks' gradients of the GLOBAL batch's losses.

    A task's gradient is that on the pooled embeddings of every row of every rank, and that on
    the tower's parameters: one vector. Every rank must call this; all get the same matrix.
    """
    dv_TBF, *parts = gradients(losses_T, [shared.v_BF, *shared.parameters])
    dv_TK = dv_TBF[..., : shared.num_pooled].flatten(1)
    products_TT = dv_TK @ dv_TK.T / batch.parts  # see pooled_norms
    weights_TP = torch.cat([part.flatten(1).to(dv_TK.dtype) for part in parts], dim=1)
    num_tasks = len(losses_T)
    means = batch.mean(torch.cat([products_TT, weights_TP], dim=1))
    products_TT, weights_TP = means[:, :num_tasks], means[:, num_tasks:]
    return products_TT + weights_TP @ weights_TP.T
