"""PCGrad: if the gradients of two tasks conflict, each is projected onto the other's normal plane.

Yu et al., NeurIPS 2020, arXiv 2001.06782.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.balancing.draws import Draws
from models.balancing.global_batch import GlobalBatch
from models.balancing.task_gradients import Shared, gram


class PcGrad(nn.Module):
    """Computes the sum of projected gradients as the gradient of a weighted sum of losses.

    The gradient g_i of a task is one vector, of the GLOBAL batch: the gradient with respect to the
    pooled embeddings [B, F] (the tower's input, because the full gradient of the tables is never
    materialized) and to all parameters of the tower. Inner products of pooled gradients equal those
    of the tables' gradients if no id occurs in two rows of a batch.

    Projections add multiples of one task's gradient to another's, with factors that depend only on
    the inner products [T, T]. Their sum is therefore sum_j w_j g_j, the gradient of sum_j w_j L_j
    with constant w, and one ordinary backward computes it for tower and tables.

    Args:
        task_weights: [T], scale the losses before projection.
    """

    takes_gradients = True
    task_weights: Tensor

    def __init__(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> None:
        super().__init__()
        self._batch = batch
        self._draws = Draws(seed, "pcgrad")
        weights = torch.tensor(task_weights, device="cpu")
        self.register_buffer("task_weights", weights, persistent=False)

    def forward(
        self, losses_T: Tensor, shares_T: Tensor, shared: Callable[[], Shared]
    ) -> tuple[Tensor, Tensor]:
        losses_T = losses_T * self.task_weights.to(losses_T.dtype)
        num_tasks = len(losses_T)
        gram_TT = gram(losses_T, shared(), self._batch)
        order_TT = self._draws.uniform(num_tasks, num_tasks).argsort(1).to(gram_TT.device)
        weights_T = projected_weights(gram_TT, order_TT)
        return torch.dot(losses_T, weights_T), weights_T * self.task_weights


def projected_weights(gram_TT: Tensor, order_TT: Tensor) -> Tensor:
    """Return the weight [T] of each task's gradient in the sum over i of the projected g_i.

    Args:
        gram_TT: inner products of gradients.
        order_TT: [i, k]: the k-th task that g_i is projected against; i itself is skipped.
    """
    num_tasks = len(gram_TT)
    tasks_T = torch.arange(num_tasks, device=gram_TT.device)
    parts_TT = torch.eye(num_tasks, dtype=gram_TT.dtype, device=gram_TT.device)  # g_i by g_j
    # All i in parallel; only the loop that the definition requires is sequential.
    for other_T in order_TT.unbind(1):
        products_T = (parts_TT * gram_TT[other_T]).sum(1)
        conflict_T = (products_T < 0) & (other_T != tasks_T)
        factors_T = torch.where(conflict_T, products_T / gram_TT[other_T, other_T], 0.0)
        parts_TT[tasks_T, other_T] -= factors_T
    return parts_TT.sum(0)
