"""Row-wise Adagrad as a separate step, for tables with a dense kernel (all replicated ones)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class UnfusedRowWiseAdagrad(Optimizer):
    """Applies the update of the fused kernel. Rows without a gradient do not change.

    Accumulators are float32 [R, 1], as in the kernel, for weights [R, D] of any type. TorchRec's
    RowWiseAdagrad uses the type of the weights: in float16 eps is 0, and rows without a gradient
    become 0 / 0 = NaN.

    Attributes:
        found_inf: 0-dim float32 on the device: 1 skips the step, as in torch's fused optimizers.
    """

    found_inf: Tensor | None = None

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, eps: float) -> None:
        super().__init__(parameters, {"lr": lr, "eps": eps})
        for group in self.param_groups:
            for weight in group["params"]:
                # Create it now: a checkpoint is loaded into it before the first step.
                sums = torch.zeros(len(weight), 1, dtype=torch.float32, device=weight.device)
                self.state[weight]["sum"] = sums

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient, sums = weight.grad.float(), self.state[weight]["sum"]
                if self.found_inf is not None:
                    gradient = torch.where(self.found_inf == 1, 0.0, gradient)
                sums += gradient.square().mean(1, keepdim=True)
                weight -= group["lr"] * gradient / (sums.sqrt() + group["eps"])
