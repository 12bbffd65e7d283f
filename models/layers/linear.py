"""Linear layers of the same shape, batched."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.fused.stacked_linear import linear
from models.layers.initialize import fill_normal

ALIGNED = 8
"""Width to which an input is padded with zeros in training. Backward's products are slower over
rows that are not aligned: 330 or 333 features cost an MMoE tower 7% to 14% (MKL, AMD EPYC)."""


class StackedLinear(nn.Module):
    """E Linear layers without bias, weight [E, out, in], in one matmul."""

    def __init__(self, num: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num, out_features, in_features))

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] (the same input for all) or [E, B, in] -> [E, B, out]."""
        if x.dim() == 3:
            return linear(x, self.weight)
        num, out_features, in_features = self.weight.shape
        weight: Tensor = self.weight
        if (missing := -in_features % ALIGNED) and torch.is_grad_enabled():
            x, weight = F.pad(x, (0, missing)), F.pad(weight, (0, missing))
        y_BO = F.linear(x, weight.flatten(0, 1))
        return y_BO.view(x.shape[0], num, out_features).transpose(0, 1)

    def init_weights(self, names: Sequence[str], seed: int, *, gain: float) -> None:
        fill_normal(self.weight, names, seed, gain=gain)
