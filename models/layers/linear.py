"""Linear layers of the same shape, batched."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.initialize import fill_normal


class StackedLinear(nn.Module):
    """E Linear layers without bias, weight [E, out, in], in one matmul."""

    def __init__(self, num: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num, out_features, in_features))

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] (the same input for all) or [E, B, in] -> [E, B, out]."""
        if x.dim() == 3:
            return torch.bmm(x, self.weight.transpose(1, 2))
        num, out_features, _ = self.weight.shape
        y_BO = F.linear(x, self.weight.flatten(0, 1))
        return y_BO.view(x.shape[0], num, out_features).transpose(0, 1)

    def init_weights(self, names: Sequence[str], seed: int, *, gain: float) -> None:
        fill_normal(self.weight, names, seed, gain=gain)
