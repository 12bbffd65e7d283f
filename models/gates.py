"""Who listens to whom: gates that mix experts, and soft masks on an expert's input."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.experts import StackedLinear
from models.initialise import fill_normal


class Gates(nn.Module):
    """G gates `Linear(x)` over those of E experts that each may see.

    The wiring is data: `visible[g]` are the experts gate g sees. Only they have weights;
    in forward these stand in a matrix for all G * E pairs, where an unseen expert has the
    constant logit -inf: softmax and sigmoid give it a weight, and its gate a gradient, of
    exactly zero, and all gates are one matmul.
    """

    def __init__(
        self,
        names: Sequence[str],
        in_features: int,
        visible: Sequence[Sequence[int]],
        num_experts: int,
    ) -> None:
        super().__init__()
        assert len(names) == len(visible)
        self.names = tuple(names)
        self.sizes = tuple(len(seen) for seen in visible)
        self.num_experts = num_experts
        # A tuple, not a buffer: a buffer would be lost on the way from meta to a device.
        self.cells = tuple(g * num_experts + e for g, seen in enumerate(visible) for e in seen)
        self.weight = nn.Parameter(torch.empty(len(self.cells), in_features))
        self.bias = nn.Parameter(torch.empty(len(self.cells)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] (the same rows for all) or [G, B, in] -> logits [B, G, E]."""
        num_gates, in_features = len(self.sizes), self.weight.shape[1]
        num_cells = num_gates * self.num_experts
        cells = torch.tensor(self.cells, device=x.device)
        weight = self.weight.new_zeros(num_cells, in_features).index_copy(0, cells, self.weight)
        bias = self.bias.new_full((num_cells,), -torch.inf).index_copy(0, cells, self.bias)
        if x.dim() == 2:
            return F.linear(x, weight, bias).view(len(x), num_gates, self.num_experts)
        weight_GEF = weight.view(num_gates, self.num_experts, in_features)
        bias_GE = bias.view(num_gates, 1, self.num_experts)
        return torch.baddbmm(bias_GE, x, weight_GEF.transpose(1, 2)).transpose(0, 1)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        ends = itertools.accumulate(self.sizes)
        for name, size, end in zip(self.names, self.sizes, ends, strict=True):
            fill_normal(self.weight[None, end - size : end], [name], seed)
        self.bias.zero_()


def self_weights(logits: Tensor, group_size: int) -> Tensor:
    """Weights of self-gates: softmax within a group, sigmoid where it has one expert."""
    return logits.sigmoid() if group_size == 1 else logits.softmax(-1)


def mix(weights_BGE: Tensor, experts_EBD: Tensor) -> Tensor:
    """Weighted sums of experts, [B, G, D]."""
    return torch.bmm(weights_BGE, experts_EBD.transpose(0, 1))


class FeatureGates(nn.Module):
    """E soft masks on an input x: `x * mask(x)`, with mask in (0, 2) and 1 at the start.

    Expert e's mask is the sum over l of `w_l(x) * 2 * sigmoid(x B_el A_el)`, with w a softmax
    over L low-rank masks. B and the gate w are one matmul, [E, L*r + L, F].
    """

    def __init__(self, names: Sequence[str], features: int, num_masks: int, rank: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.num_masks = num_masks
        self.rank = rank
        num_columns = num_masks * (rank + 1)
        self.down = StackedLinear(len(names), features, num_columns, bias=False)
        self.gate_bias = nn.Parameter(torch.empty(len(names), num_masks))
        self.up = nn.Parameter(torch.empty(len(names), num_masks, rank, features))

    def masks(self, x: Tensor) -> Tensor:
        """[B, F] or [E, B, F] -> masks [E, B, F]."""
        down_EBC = self.down(x)
        low_EBR, gate_EBL = down_EBC.split([self.num_masks * self.rank, self.num_masks], dim=-1)
        weights_EBL = (gate_EBL + self.gate_bias[:, None]).softmax(-1)
        low_EBLr = low_EBR.unflatten(-1, (self.num_masks, self.rank))
        masks_ELBF = torch.matmul(low_EBLr.transpose(1, 2), self.up).sigmoid()
        return 2.0 * (weights_EBL.transpose(1, 2)[..., None] * masks_ELBF).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, F] or [E, B, F] -> masked inputs [E, B, F]."""
        return x * self.masks(x)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        self.down.init_weights([f"feature_gate.{name}" for name in self.names], seed)
        self.gate_bias.zero_()
        self.up.zero_()
