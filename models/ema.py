"""Exponential moving average (EMA) of a module's weights, used for evaluation.

Source: Polyak and Juditsky, 'Acceleration of stochastic approximation by averaging' (1992), in the
exponential form of torch.optim.swa_utils, with the start of the averages by Shamir and Zhang,
'Stochastic gradient descent for non-smooth optimization' (2013).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def ema_of(module: nn.Module, decay: float) -> AveragedModel:
    """EMA of the weights of `module`; call `update_parameters(module)` after every step.

    The first update copies the weights. Update n decays the average by min(decay, n / (n + 2)):
    until this reaches `decay`, the weights of step n count n times as much as those of step 1, so
    the initial weights are forgotten quickly. Running statistics are averaged like weights; integer
    buffers are copied.

    Args:
        decay: in [0, 1); the average spans about 1 / (1 - decay) steps.
    """

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # torch passes tensors of one dtype at a time
            torch._foreach_copy_(list(averages), list(values))
            return
        n = int(count)
        kept = min(decay, n / (n + 2))
        torch._foreach_lerp_(list(averages), list(values), 1 - kept)

    average = AveragedModel(module, multi_avg_fn=update, use_buffers=True)
    # Not trained: hide it from the optimizer and DistributedDataParallel.
    average.requires_grad_(requires_grad=False)
    return average
