"""The interface of task balancing, and its kinds.

A balance is a module (losses [T], shares of known labels [T], shared tensors) -> (total loss,
weights [T] of the losses for the log). The step runs backward on the total. `takes_gradients` is
true if it needs the shared tensors. To add a kind, add a file, its name here, and its config with
build(task_weights, seed, batch) in config.py.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.balancing.gradnorm import GradNorm
from models.balancing.pcgrad import PcGrad
from models.balancing.task_gradients import Shared
from models.balancing.uncertainty import Uncertainty


class Fixed(nn.Module):
    """`sum_t w_t L_t`."""

    takes_gradients = False
    task_weights: Tensor

    def __init__(self, task_weights: Sequence[float]) -> None:
        super().__init__()
        weights = torch.tensor(task_weights, device="cpu")
        self.register_buffer("task_weights", weights, persistent=False)

    def forward(
        self, losses_T: Tensor, shares_T: Tensor, shared: Callable[[], Shared]
    ) -> tuple[Tensor, Tensor]:
        return torch.dot(losses_T, self.task_weights.to(losses_T.dtype)), self.task_weights


Balance = Fixed | Uncertainty | GradNorm | PcGrad
