"""An exponential moving average of a module's weights: what is evaluated while the weights train.

Source: Polyak and Juditsky, 'Acceleration of stochastic approximation by averaging' (1992), in the
exponential form that torch.optim.swa_utils describes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def average_of(module: nn.Module, decay: float) -> AveragedModel:
    """An average that begins as `module` stands; `update_parameters(module)` after every step.

    The first update takes the weights as they are; after n updates the average keeps the share
    min(decay, (1 + n) / (10 + n)) of itself, so that it soon forgets the start. Running statistics
    are averaged as weights are.

    Args:
        decay: 0 to below 1; the average reaches back some 1 / (1 - decay) steps.
    """

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        n = int(count)
        kept = min(decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(averages), list(values), 1 - kept)

    # Of buffers that are no floating point numbers there is no average, and no tower has any.
    assert all(buffer.is_floating_point() for buffer in module.buffers())
    average = AveragedModel(module, multi_avg_fn=update, use_buffers=True)
    # No optimizer's, and none of DistributedDataParallel's business.
    average.requires_grad_(requires_grad=False)
    return average
