"""Soft masks on the input of an expert: HoME's mechanism for experts ignored by sparse tasks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.fused import chunked, chunks
from models.layers.fused.gated_linear import GatedLinear
from models.layers.fused.kernels import take
from models.layers.linear import StackedLinear
from models.layers.softmax import softmax


class FeatureGates(nn.Module):
    """E masks on an input: `x * mask(x)`, with values in (0, 2), initially exactly 1.

    Mask e is the sum over l of `w_el(x) * 2 * sigmoid(x B_el A_el)`: L masks of low rank r,
    mixed by a softmax w_e of a Linear of the same x. The rows of B and of that Linear are one
    matrix [E, L*r + L, F]; A starts at zero.
    """

    def __init__(self, names: Sequence[str], features: int, num_masks: int, rank: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.sizes = (num_masks * rank, num_masks)
        self.down = StackedLinear(len(names), features, sum(self.sizes))
        self.mixing_bias = nn.Parameter(torch.empty(len(names), num_masks))
        self.up = nn.Parameter(torch.empty(num_masks, len(names), rank, features))

    def _low_rank(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x B [E, B, L*r] and the weights of the masks [E, B, L]."""
        low_EBR, logits_EBL = self.down(x).split(self.sizes, dim=-1)
        return low_EBR, softmax(logits_EBL + self.mixing_bias[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """[B, F] or [E, B, F] -> masked inputs [E, B, F]."""
        low_EBR, mixing_EBL = self._low_rank(x)
        low_by_mask = low_EBR.chunk(len(self.up), dim=-1)
        mask_EBF = sum(
            2.0 * mixing_EBL[..., i : i + 1] * torch.bmm(low_EBr, self.up[i]).sigmoid()
            for i, low_EBr in enumerate(low_by_mask)
        )
        return x * mask_EBF

    def linear(self, x: Tensor, weight_EOF: Tensor) -> Tensor:
        """Masked inputs times `weight_EOF` [E, out, F]: [B, F] or [E, B, F] -> [E, B, out]."""
        if not chunks.is_wanted():
            return torch.bmm(self(x), weight_EOF.transpose(1, 2))
        low_EBR, mixing_EBL = self._low_rank(x)
        # Use the dtype that autocast, if enabled, chose for the first matmul.
        inputs = [t.to(low_EBR.dtype) for t in (x, low_EBR, mixing_EBL, self.up, weight_EOF)]
        function = GatedLinear if take(*inputs) else chunked.GatedLinear
        return function.apply(*inputs)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        self.down.init_weights([f"feature_gate.{name}" for name in self.names], seed, gain=1.0)
        self.mixing_bias.zero_()
        self.up.zero_()
