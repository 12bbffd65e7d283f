"""Expert layers by chunks of rows, as torch operations: where there are no compiled kernels.

As plain tensor operations, each step makes five to ten passes over tensors of
[experts, batch, features], which exceed any cache, and saves several of them for backward. Here
the rows of a batch are processed in chunks whose intermediate results stay in cache, and backward
recomputes them. `python -m benchmarks.tower` compares both.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.layers.fused.chunks import chunks


class GatedLinear(torch.autograd.Function):
    """[E, B, out]: `(x * mask_e(x)) W_e` for each e, `mask_e = sum_l w_el 2 sigmoid(low_el A_el)`.

    x [B, F] or [E, B, F]; low [E, B, L*r]; w [E, B, L]; A `up` [L, E, r, F]; W [E, out, F].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, low, mixing, up, weight)
        num_experts, out_features, in_features = weight.shape
        h_EBH = weight.new_empty(num_experts, x.shape[-2], out_features)
        for rows in chunks(num_experts * in_features, x):
            mask, _ = GatedLinear.mask(low[:, rows], mixing[:, rows], up)
            masked = mask.mul_(x[..., rows, :])
            torch.bmm(masked, weight.transpose(1, 2), out=h_EBH[:, rows])
        return h_EBH

    @staticmethod
    def mask(low: Tensor, mixing: Tensor, up: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the mask [E, rows, F] and its sigmoids, one for each l."""
        sigmoids = [
            torch.bmm(low_l, up_l).sigmoid_()
            for low_l, up_l in zip(low.tensor_split(len(up), -1), up, strict=True)
        ]
        twice = 2.0 * mixing
        mask = sigmoids[0] * twice[..., :1]
        for i, sigmoid in enumerate(sigmoids[1:], start=1):
            mask.addcmul_(sigmoid, twice[..., i : i + 1])
        return mask, sigmoids

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_EBH: Tensor) -> tuple[Tensor, ...]:
        x, low, mixing, up, weight = ctx.saved_tensors
        num_experts, _, in_features = weight.shape
        dx, dlow, dmixing = torch.empty_like(x), torch.empty_like(low), torch.empty_like(mixing)
        dup, dweight = torch.zeros_like(up), torch.zeros_like(weight)
        for rows in chunks(num_experts * in_features, x):
            x_rows, dh, low_rows = x[..., rows, :], dh_EBH[:, rows], low[:, rows]
            mask, sigmoids = GatedLinear.mask(low_rows, mixing[:, rows], up)
            dweight.baddbmm_(dh.transpose(1, 2), mask * x_rows)
            dmasked = torch.bmm(dh, weight)
            if x.dim() == 2:
                torch.sum(mask.mul_(dmasked), 0, out=dx[rows])
            else:
                torch.mul(mask, dmasked, out=dx[:, rows])
            dmask = dmasked.mul_(x_rows)
            parts = zip(low_rows.tensor_split(len(up), -1), sigmoids, strict=True)
            for i, (low_i, sigmoid) in enumerate(parts):
                # d mask / d low A = 2 w s (1 - s); the factor 2 w goes to the small side.
                ds = dmask * sigmoid
                dmixing[:, rows, i] = 2.0 * ds.sum(-1)
                ds.addcmul_(ds, sigmoid, value=-1.0)
                twice = 2.0 * mixing[:, rows, i : i + 1]
                dup[i].baddbmm_((low_i * twice).transpose(1, 2), ds)
                dlow_i = dlow[:, rows].tensor_split(len(up), -1)[i]
                torch.mul(torch.bmm(ds, up[i].transpose(1, 2)), twice, out=dlow_i)
        return dx, dlow, dmixing, dup, dweight


class BatchNormActivation(torch.autograd.Function):
    """[E, B, D]: `activation(weight * (x - mean) / sqrt(var + eps) + bias)`, as norm.py.

    `mean` and `var` [E, D] are those of the global batch, of which x is one rank's part. Their
    gradients are computed here, too, with `batch_mean` again, which is self-adjoint.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        eps: float,
        activation: str,
        batch_mean: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        rstd = torch.rsqrt(var + eps)
        scale = (weight * rstd)[:, None]
        shift = torch.addcmul(bias[:, None], mean[:, None], scale, value=-1.0)
        ctx.save_for_backward(x, scale, shift, mean, rstd)
        ctx.activation, ctx.batch_mean = activation, batch_mean
        out = torch.empty_like(x)
        for rows in chunks(x.shape[0] * x.shape[2], x):
            pre = torch.addcmul(shift, x[:, rows], scale, out=out[:, rows])
            activate_(pre, activation)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, mean, rstd = ctx.saved_tensors
        batch = x.shape[1]
        dy = torch.empty_like(x)
        dbias, products = torch.zeros_like(mean), torch.zeros_like(mean)
        for rows in chunks(x.shape[0] * x.shape[2], x):
            pre = torch.addcmul(shift, x[:, rows], scale)
            dpre = activate_backward(dout[:, rows], pre, ctx.activation, out=dy[:, rows])
            dbias += dpre.sum(1, dtype=mean.dtype)
            products += torch.mul(dpre, x[:, rows], out=pre).sum(1)
        dweight = (products - mean * dbias) * rstd
        means = torch.stack([dbias, dweight]) / batch
        if ctx.batch_mean is not None:
            means = ctx.batch_mean(means)
        # dx = scale * (dy - mean(dy) - xhat * mean(dy * xhat)), with xhat = (x - mean) * rstd.
        slope = -scale * (means[1] * rstd)[:, None]
        constant = -scale * means[0][:, None] - slope * mean[:, None]
        for rows in chunks(x.shape[0] * x.shape[2], x):
            dx = torch.addcmul(constant, dy[:, rows], scale, out=dy[:, rows])
            dx.addcmul_(x[:, rows], slope)
        return dy, dweight, dbias, None, None, None, None, None


def activate_(x: Tensor, activation: str) -> Tensor:
    """Swish or ReLU in place."""
    return F.silu(x, inplace=True) if activation == "swish" else x.relu_()


def activate_backward(dout: Tensor, x: Tensor, activation: str, out: Tensor) -> Tensor:
    """Write the gradient of the activation's input x to `out`."""
    if activation == "swish":
        return torch.ops.aten.silu_backward.grad_input(dout, x, grad_input=out)
    return torch.ops.aten.threshold_backward.grad_input(dout, x, 0, grad_input=out)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance [E, D] of x [E, B, D] over B in one pass.

    Sums are over differences from the first row, because sums of squares about zero lose the
    precision of a variance that is small relative to the mean.
    """
    first = x[:, :1].to(torch.promote_types(x.dtype, torch.float32))
    total, squares = torch.zeros_like(first[:, 0]), torch.zeros_like(first[:, 0])
    for rows in chunks(x.shape[0] * x.shape[2], x):
        difference = x[:, rows] - first
        total += difference.sum(1)
        squares += difference.square_().sum(1)
    offset = total / x.shape[1]
    var = squares / x.shape[1] - offset.square()
    return first[:, 0] + offset, var.clamp_min_(0.0)
