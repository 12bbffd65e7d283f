"""Sparse routing: which experts a row runs for each task, their weights, and the load's balance.

Suffixes: B rows, T tasks, E experts.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.layers.norm import BatchMean
from models.layers.softmax import softmax


class Routing(NamedTuple):
    """Experts of every row and task."""

    routing_BTE: Tensor
    """Routing weights, a softmax over all experts."""
    chosen_BTE: Tensor
    """Whether the task uses the expert for the row."""
    weights_BTE: Tensor
    """Weights of the mixture: routing weights rescaled to a sum of 1 over the chosen experts,
    exactly zero for others."""


def route(logits_BTE: Tensor, shared_top_k: int, task_top_k: int) -> Routing:
    """Choose `shared_top_k` experts for all tasks of a row, then `task_top_k` more for each task.

    The former have the largest sums of routing weights over tasks, the latter the largest routing
    weights of the task among the other experts. Of equal ones, the first is chosen.
    """
    routing_BTE = softmax(logits_BTE)
    shared_BE = _largest(routing_BTE.detach().sum(1), shared_top_k)
    others_BTE = routing_BTE.detach().masked_fill(shared_BE[:, None], -1.0)
    chosen_BTE = shared_BE[:, None] | _largest(others_BTE, task_top_k)
    # Equal to routing weights over their sum, and defined where all of them are rounded to 0.
    weights_BTE = softmax(logits_BTE.masked_fill(~chosen_BTE, -torch.inf))
    return Routing(routing_BTE, chosen_BTE, weights_BTE)


def _largest(values: Tensor, count: int) -> Tensor:
    """Return a mask of the `count` largest of the last dimension."""
    order = torch.sort(values, stable=True, dim=-1, descending=True).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter(-1, order[..., :count], value=True)


def load_balancing_loss(routing: Routing, batch_mean: BatchMean | None = None) -> Tensor:
    """Return `E / K * sum_e f_e p_e`, with K the number of experts of a task.

    f_e is the share of rows for which a task uses expert e, p_e its mean routing weight, both
    averaged over tasks: an even load has a loss of 1. Gradients reach p alone (Fedus et al.,
    arXiv 2101.03961, for one task). With `batch_mean`, the mean of the loss over ranks is that of
    the global batch.
    """
    num_experts = routing.routing_BTE.shape[2]
    shares_E = routing.chosen_BTE.to(routing.routing_BTE.dtype).mean((0, 1))
    if batch_mean is not None:
        shares_E = batch_mean(shares_E)
    # The shares of a task add up to K.
    scale = num_experts / shares_E.sum()
    return scale * (shares_E * routing.routing_BTE.mean((0, 1))).sum()
