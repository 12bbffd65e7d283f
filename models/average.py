"""An exponential moving average of a module's weights: what is evaluated while the weights train.

Source: Polyak and Juditsky, 'Acceleration of stochastic approximation by averaging' (1992), in the
exponential form that torch.optim.swa_utils describes, begun as the averages of Shamir and Zhang,
'Stochastic gradient descent for non-smooth optimization' (2013).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def average_of(module: nn.Module, decay: float) -> AveragedModel:
    """An average that begins as `module` stands; `update_parameters(module)` after every step.

    The first update takes the weights as they are; after n updates the average keeps the share
    min(decay, n / (n + 2)) of itself: until that is `decay`, the n-th step's weights count n times
    as much as the first one's, so that the start is soon forgotten and a short run is averaged too.
    Running statistics are averaged as weights are.

    Args:
        decay: 0 to below 1; the average reaches back some 1 / (1 - decay) steps.
    """

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        n = int(count)
        kept = min(decay, n / (n + 2))
        torch._foreach_lerp_(list(averages), list(values), 1 - kept)

    # Of buffers that are no floating point numbers there is no average, and no tower has any.
    assert all(buffer.is_floating_point() for buffer in module.buffers())
    average = AveragedModel(module, multi_avg_fn=update, use_buffers=True)
    # No optimizer's, and none of DistributedDataParallel's business.
    average.requires_grad_(requires_grad=False)
    return average
