"""Exponential moving average (EMA) of a module's weights, used for evaluation.

Source: Polyak and Juditsky, 'Acceleration of stochastic approximation by averaging' (1992), in the
exponential form of torch.optim.swa_utils, with the start of the averages by Shamir and Zhang,
'Stochastic gradient descent for non-smooth optimization' (2013).
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Ema(AveragedModel):
    """EMA of the weights of `module`; call `update_parameters(module)` after every step.

    The first update copies the weights. Update n decays the average by min(decay, n / (n + 2)):
    until this reaches `decay`, the weights of step n count n times as much as those of step 1, so
    the initial weights are forgotten quickly. Running statistics are averaged like weights; integer
    buffers are copied. Unlike the base class, an update does not wait for the device.

    Args:
        decay: in [0, 1); the average spans about 1 / (1 - decay) steps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module, use_buffers=True)
        self._decay = decay
        self.n_averaged = self.n_averaged.to(next(module.parameters()).device)
        # Not trained: hide it from the optimizer and DistributedDataParallel.
        self.requires_grad_(requires_grad=False)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module, skipped: Tensor | None = None) -> None:
        """`skipped`: 0-dim; where it is 1, as of a step that was skipped, nothing changes."""
        count = self.n_averaged.double()
        weight = 1 - (count / (count + 2)).clamp(max=self._decay)
        if skipped is None:
            self.n_averaged += 1
        else:
            weight = torch.where(skipped == 1, 0.0, weight)
            self.n_averaged += skipped != 1
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for average, value in zip(_tensors(self.module), _tensors(model), strict=True):
            averages, values = groups.setdefault(average.dtype, ([], []))
            averages.append(average)
            values.append(value)
        for dtype, (averages, values) in groups.items():
            if dtype.is_floating_point:
                torch._foreach_lerp_(averages, values, [weight.to(dtype)] * len(averages))
            else:
                torch._foreach_copy_(averages, values)


def _tensors(module: nn.Module) -> chain[Tensor]:
    return chain(module.parameters(), module.buffers())
