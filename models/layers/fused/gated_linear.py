"""Soft masks on the inputs of experts, and the experts' first Linear, by chunks of rows.

As plain tensor operations, the masks take five to ten passes over tensors of
[experts, batch, features], which exceed any cache, and several of them are saved for backward.
Here backward recomputes them. `python -m benchmarks.tower` compares both.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.layers.fused.chunks import chunks
from models.layers.fused.kernels import kernels


class GatedLinear(torch.autograd.Function):
    """[E, B, out]: `(x * mask_e(x)) W_e` for each e, `mask_e = sum_l w_el 2 sigmoid(low_el A_el)`.

    x [B, F] or [E, B, F]; low [E, B, L*r]; w `mixing` [E, B, L]; A `up` [L, E, r, F];
    W [E, out, F].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, weight: Tensor
    ) -> Tensor:
        low_LBr = _by_mask(low, len(up))
        ctx.save_for_backward(x, low_LBr, mixing, up, weight)
        num_experts, out_features, in_features = weight.shape
        kernel = kernels(x, low, mixing, up, weight)
        gate = _gate if kernel is None else kernel.gate
        h_EBH = weight.new_empty(num_experts, x.shape[-2], out_features)
        for rows in chunks(num_experts * in_features, x):
            masked = x.new_empty(num_experts, rows.stop - rows.start, in_features)
            gate(x[..., rows, :], low_LBr[:, rows], mixing[:, rows], up, masked)
            torch.bmm(masked, weight.mT, out=h_EBH[:, rows])
        return h_EBH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_EBH: Tensor) -> tuple[Tensor, ...]:
        x, low_LBr, mixing, up, weight = ctx.saved_tensors
        num_experts, _, in_features = weight.shape
        kernel = kernels(x, low_LBr, mixing, up, weight)
        gate_backward = _gate_backward if kernel is None else kernel.gate_backward
        dx, dlow_LBr, dmixing = (torch.empty_like(t) for t in (x, low_LBr, mixing))
        up_LrF, dup_LrF = up.flatten(0, 1), torch.zeros_like(up).flatten(0, 1)
        dweight = torch.zeros_like(weight)
        for rows in chunks(num_experts * in_features, x):
            dh, low_rows = dh_EBH[:, rows], low_LBr[:, rows]
            masked = dmasked = torch.bmm(dh, weight)
            dhigh = x.new_empty(len(low_LBr), *dmasked.shape[1:])
            gate_backward(
                x[..., rows, :],
                low_rows,
                mixing[:, rows],
                up,
                dmasked,
                dx[..., rows, :],
                dmixing[:, rows],
                dhigh,
            )
            dweight.baddbmm_(dh.mT, masked)
            dup_LrF.baddbmm_(low_rows.mT, dhigh)
            dlow_LBr[:, rows] = torch.bmm(dhigh, up_LrF.mT)
        dlow = dlow_LBr.view(*up.shape[:2], *low_LBr.shape[1:]).permute(1, 2, 0, 3).flatten(2)
        return dx, dlow, dmixing, dup_LrF.view_as(up), dweight


def _by_mask(low: Tensor, num_masks: int) -> Tensor:
    """[E, B, L*r] -> [L*E, B, r], contiguous."""
    return low.view(*low.shape[:2], num_masks, -1).permute(2, 0, 1, 3).flatten(0, 1)


def _gate(x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, out: Tensor) -> None:
    """As Kernels.gate."""
    torch.mul(_mask(_sigmoids(low, up), mixing), x, out=out)


def _gate_backward(
    x: Tensor,
    low: Tensor,
    mixing: Tensor,
    up: Tensor,
    dmasked: Tensor,
    dx: Tensor,
    dmixing: Tensor,
    dhigh: Tensor,
) -> None:
    """As Kernels.gate_backward."""
    sigmoids = _sigmoids(low, up)
    mask = _mask(sigmoids, mixing)
    if x.dim() == 2:
        torch.sum(mask * dmasked, 0, out=dx)
    else:
        torch.mul(mask, dmasked, out=dx)
    dmask = dmasked * x
    torch.mul(mask, x, out=dmasked)
    for i, (sigmoid, dhigh_i) in enumerate(zip(sigmoids, dhigh.chunk(len(up)), strict=True)):
        # d mask / d high = 2 w s (1 - s)
        ds = dmask * sigmoid
        dmixing[..., i] = 2.0 * ds.sum(-1)
        torch.addcmul(ds, ds, sigmoid, value=-1.0, out=dhigh_i)
        dhigh_i.mul_(2.0 * mixing[..., i : i + 1])


def _sigmoids(low: Tensor, up: Tensor) -> Tensor:
    """Return `sigmoid(low A)` [L, E, rows, F]."""
    sigmoids = torch.bmm(low, up.flatten(0, 1)).sigmoid_()
    return sigmoids.view(*up.shape[:2], *sigmoids.shape[1:])


def _mask(sigmoids: Tensor, mixing: Tensor) -> Tensor:
    """Return the mask [E, rows, F]."""
    twice = 2.0 * mixing
    mask = sigmoids[0] * twice[..., :1]
    for i, sigmoid in enumerate(sigmoids[1:], start=1):
        mask.addcmul_(sigmoid, twice[..., i : i + 1])
    return mask
