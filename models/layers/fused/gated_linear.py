"""Soft masks on the inputs of experts, and the experts' first Linear, by chunks of rows.

Backward computes the masks again. Needs compiled kernels.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.layers.fused.chunks import chunks
from models.layers.fused.kernels import kernels_for, with_dense_rows


class GatedLinear(torch.autograd.Function):
    """[E, B, out]: `(x * mask_e(x)) W_e` for each e, `mask_e = sum_l w_el 2 sigmoid(low_el A_el)`.

    x [B, F] or [E, B, F]; low [E, B, L*r]; w `mixing` [E, B, L]; A `up` [L, E, r, F];
    W [E, out, F].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, low, mixing, up, weight)
        num_experts, out_features, in_features = weight.shape
        kernels = kernels_for(x)
        if x.dtype == torch.float32:
            return kernels.gated_linear(x, low, mixing, up, weight)
        h_EBH = weight.new_empty(num_experts, x.shape[-2], out_features)
        for rows in chunks(num_experts * in_features, x):
            masked = x.new_empty(num_experts, rows.stop - rows.start, in_features)
            kernels.gate(x[..., rows, :], low[:, rows], mixing[:, rows], up, masked)
            torch.bmm(masked, weight.mT, out=h_EBH[:, rows])
        return h_EBH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_EBH: Tensor) -> tuple[Tensor, ...]:
        x, low, mixing, up, weight = ctx.saved_tensors
        num_experts, _, in_features = weight.shape
        kernels = kernels_for(x)
        if x.dtype == torch.float32:
            dh_EBH = with_dense_rows(dh_EBH)
            return kernels.gated_linear_backward(x, low, mixing, up, weight, dh_EBH)
        low_LBr = _by_mask(low, len(up))
        dx, dlow_LBr, dmixing = (torch.empty_like(t) for t in (x, low_LBr, mixing))
        up_LrF, dup_LrF = up.flatten(0, 1), torch.zeros_like(up).flatten(0, 1)
        dweight = torch.zeros_like(weight)
        for rows in chunks(num_experts * in_features, x):
            dh = dh_EBH[:, rows]
            masked = dmasked = torch.bmm(dh, weight)
            dhigh = x.new_empty(len(low_LBr), *dmasked.shape[1:])
            kernels.gate_backward(
                x[..., rows, :],
                low[:, rows],
                mixing[:, rows],
                up,
                dmasked,
                dx[..., rows, :],
                dmixing[:, rows],
                dhigh,
            )
            dweight.baddbmm_(dh.mT, masked)
            dup_LrF.baddbmm_(low_LBr[:, rows].mT, dhigh)
            dlow_LBr[:, rows] = torch.bmm(dhigh, up_LrF.mT)
        dlow = dlow_LBr.view(*up.shape[:2], *low_LBr.shape[1:]).permute(1, 2, 0, 3).flatten(2)
        return dx, dlow, dmixing, dup_LrF.view_as(up), dweight


def _by_mask(low: Tensor, num_masks: int) -> Tensor:
    """[E, B, L*r] -> [L*E, B, r], contiguous."""
    return low.view(*low.shape[:2], num_masks, -1).permute(2, 0, 1, 3).flatten(0, 1)
