"""Uncertainty weighting: learns the noise of each task; noisier tasks get smaller weights.

Kendall, Gal, Cipolla, CVPR 2018, arXiv 1705.07115.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.balancing.task_gradients import Shared


class Uncertainty(nn.Module):
    """Sum over tasks of `exp(-s_t) L_t + share_t s_t / 2`, with the learned log-variance s_t.

    The paper's loss is L / sigma^2 + log(sigma) for one known label. Here it is averaged over all
    rows of a batch, and a missing label adds neither term: hence `share_t`, the share of known
    labels. A task without labels in a batch changes nothing, including its s_t; the mean over ranks
    is the value of the global batch; and the weight at convergence,
    exp(-s_t) = 1 / (2 * mean loss of a known label), does not depend on the number of known labels.
    """

    takes_gradients = False

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(num_tasks, device="cpu"))

    def forward(
        self, losses_T: Tensor, shares_T: Tensor, shared: Callable[[], Shared]
    ) -> tuple[Tensor, Tensor]:
        weights_T = torch.exp(-self.log_variances)
        total = torch.dot(losses_T, weights_T) + torch.dot(shares_T, self.log_variances) / 2
        return total, weights_T.detach()
