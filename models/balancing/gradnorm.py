"""GradNorm: weights that give slowly learning tasks larger gradients.

Chen et al., ICML 2018, arXiv 1711.02257.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.balancing.config import GradNormConfig
from models.balancing.global_batch import GlobalBatch
from models.balancing.task_gradients import Shared, pooled_norms

LEAST = 0.01
"""Minimum of a weight before all are rescaled to their sum, so that no weight becomes negative.
The paper has no such bound."""


class GradNorm(nn.Module):
    """`sum_t w_t L_t`; the weights w change after each step, and their sum remains T.

    With g_t the norm of the gradient of L_t, and l_t the mean loss of a known label of t,

        ratio_t  = l_t / l_t(first batch with labels), over its mean over tasks
        target_t = mean(w g) ratio_t^alpha
        w_t     <- w_t - lr * d/dw_t sum_i |w_i g_i - target_i| / mean(w g)

    with targets and mean held constant. The last division is not in the paper: it makes the rate
    independent of the scale of the norms, which decrease with the batch size. A task without labels
    in a batch keeps its weight, except for the common factor, and is not part of the means.

    Norms are those of the GLOBAL batch, of the gradient with respect to the pooled embeddings
    [B, F], the tower's input, which all tasks share in every tower. (The paper uses the weights of
    the last shared layer. The full gradient of the tables is never materialized, because their
    optimizer runs in backward.)
    """

    takes_gradients = True
    weights: Tensor
    first_losses: Tensor

    def __init__(self, config: GradNormConfig, num_tasks: int, batch: GlobalBatch) -> None:
        super().__init__()
        self._config = config
        self._batch = batch
        self.register_buffer("weights", torch.ones(num_tasks, device="cpu"))
        self.register_buffer("first_losses", torch.zeros(num_tasks, device="cpu"))

    def forward(
        self, losses_T: Tensor, shares_T: Tensor, shared: Callable[[], Shared]
    ) -> tuple[Tensor, Tensor]:
        weights_T = self.weights.clone()
        squares_T = pooled_norms(losses_T, shared(), self._batch)
        with torch.no_grad():
            mine = torch.stack([losses_T.detach(), shares_T.to(losses_T.dtype), squares_T])
            sums_T, shares_T, squares_T = self._batch.mean(mine).unbind()
            self._learn(sums_T, shares_T, squares_T.sqrt())
        return torch.dot(losses_T, weights_T), weights_T

    def _learn(self, sums_T: Tensor, shares_T: Tensor, norms_T: Tensor) -> None:
        """Return the weights of the next step from the losses and norms of the global batch."""
        weights_T = self.weights
        known_T = sums_T > 0
        losses_T = sums_T / shares_T
        fresh_T = known_T & (self.first_losses == 0)
        self.first_losses.copy_(torch.where(fresh_T, losses_T, self.first_losses))
        ratios_T = torch.where(known_T, losses_T / self.first_losses, 0.0)
        sent_T = torch.where(known_T, weights_T * norms_T, 0.0)
        # The number of known tasks cancels in the means, except here.
        mean = sent_T.sum() / known_T.sum()
        ratios_T = ratios_T * known_T.sum() / ratios_T.sum()
        slopes_T = torch.sign(sent_T - mean * ratios_T**self._config.alpha) * norms_T / mean
        moved_T = (weights_T - self._config.lr * slopes_T).clamp_min(LEAST)
        # Without known tasks or gradients the above is 0 / 0: keep the weights.
        moved_T = torch.where(known_T & (mean > 0), moved_T, weights_T)
        self.weights.copy_(moved_T * len(moved_T) / moved_T.sum())
