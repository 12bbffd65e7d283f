"""Normalisation of the outputs of E experts at once, tensors [E, B, D].

Each of the three kinds carries the shift of its layer, so the Linear before it has no bias
(a bias before batch statistics would have no effect and no gradient).
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BatchMean = Callable[[Tensor], Tensor]
"""Mean over the ranks of a tensor of equal shape on each, differentiable.

Handed in from outside, as models/ knows no ranks; None means one process.
"""

Normalisation = Literal["batch", "layer", "none"]

EPS = 1e-5
MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics, as torch.nn.BatchNorm1d has it."""


class Shift(nn.Module):
    """No normalisation: a bias [E, D]."""

    def __init__(self, num_experts: int, dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(num_experts, dim))

    def forward(self, x_EBD: Tensor) -> Tensor:
        return x_EBD + self.bias[:, None]

    @torch.no_grad()
    def init_weights(self) -> None:
        self.bias.zero_()


class LayerNorm(nn.Module):
    """Each row of each expert to mean 0 and variance 1, then scale and shift [E, D]."""

    def __init__(self, num_experts: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, dim))
        self.bias = nn.Parameter(torch.empty(num_experts, dim))

    def forward(self, x_EBD: Tensor) -> Tensor:
        normal_EBD = F.layer_norm(x_EBD, x_EBD.shape[-1:], eps=EPS)
        return torch.addcmul(self.bias[:, None], normal_EBD, self.weight[:, None])

    @torch.no_grad()
    def init_weights(self) -> None:
        self.weight.fill_(1.0)
        self.bias.zero_()


class BatchNorm(nn.Module):
    """Each of the E*D channels to mean 0 and variance 1 over the batch, then scale and shift.

    Training uses the statistics of the global batch: the first two moments of this rank's
    rows, averaged over ranks by one call of `batch_mean`. Evaluation uses running averages.
    Unlike torch's, the running variance is the biased one: the size of the global batch is
    not known here.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_experts: int, dim: int, batch_mean: BatchMean | None = None) -> None:
        super().__init__()
        self.batch_mean = batch_mean
        self.weight = nn.Parameter(torch.empty(num_experts, dim))
        self.bias = nn.Parameter(torch.empty(num_experts, dim))
        self.register_buffer("running_mean", torch.empty(num_experts, dim))
        self.register_buffer("running_var", torch.empty(num_experts, dim))

    def forward(self, x_EBD: Tensor) -> Tensor:
        if self.training:
            mean_ED, var_ED = self._batch_statistics(x_EBD)
            with torch.no_grad():
                self.running_mean.lerp_(mean_ED.to(self.running_mean.dtype), MOMENTUM)
                self.running_var.lerp_(var_ED.to(self.running_var.dtype), MOMENTUM)
            scale_ED, shift_ED = self._affine(mean_ED, var_ED)
        else:
            scale_ED, shift_ED = self.folded()
        return torch.addcmul(shift_ED[:, None], x_EBD, scale_ED[:, None])

    def _batch_statistics(self, x_EBD: Tensor) -> tuple[Tensor, Tensor]:
        mean_ED = x_EBD.mean(1)
        var_ED = (x_EBD - mean_ED[:, None]).square().mean(1)
        if self.batch_mean is None:
            return mean_ED, var_ED
        # Moments about the running mean, which all ranks share: about zero, a variance
        # small beside the mean would be lost in the difference of two large numbers.
        offset_ED = mean_ED - self.running_mean
        moments = torch.stack([offset_ED, var_ED + offset_ED.square()])
        offset_ED, second_ED = self.batch_mean(moments).unbind(0)
        var_ED = (second_ED - offset_ED.square()).clamp_min(0.0)
        return offset_ED + self.running_mean, var_ED

    def _affine(self, mean_ED: Tensor, var_ED: Tensor) -> tuple[Tensor, Tensor]:
        scale_ED = self.weight * torch.rsqrt(var_ED + EPS)
        return scale_ED, self.bias - mean_ED * scale_ED

    def folded(self) -> tuple[Tensor, Tensor]:
        """Scale and shift [E, D] of evaluation: it is `x * scale + shift`."""
        return self._affine(self.running_mean, self.running_var)

    @torch.no_grad()
    def init_weights(self) -> None:
        self.weight.fill_(1.0)
        self.bias.zero_()
        self.running_mean.zero_()
        self.running_var.fill_(1.0)


def build_norm(
    kind: Normalisation, num_experts: int, dim: int, batch_mean: BatchMean | None
) -> BatchNorm | LayerNorm | Shift:
    """The norm of one layer of `num_experts` experts."""
    if kind == "batch":
        return BatchNorm(num_experts, dim, batch_mean)
    return LayerNorm(num_experts, dim) if kind == "layer" else Shift(num_experts, dim)
