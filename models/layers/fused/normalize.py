"""Scale, shift and activation of E experts' outputs, and the Linear behind them, in few passes.

Only the input is saved for backward, which computes the rest again, by chunks of rows that stay in
cache. Needs compiled kernels. `python -m benchmarks.tower` compares this with the plain form.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.layers.fused.chunks import chunks
from models.layers.fused.kernels import kernels_for, with_dense_rows


class AffineActivation(torch.autograd.Function):
    """[E, B, D]: `activation(x * scale + shift)`, with scale and shift [E, D].

    If `linear` [E, out, D] is given, the product of each row with it, [E, B, out].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, activation: str, linear: Tensor | None
    ) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(x, scale, shift, linear)
        return _forward(x, scale, shift, activation, linear)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, linear = ctx.saved_tensors
        center = torch.zeros_like(shift)
        dx, dshift, dscale, dlinear = _backward(
            x, dout, scale, shift, center, ctx.activation, linear
        )
        return dx, dscale, dshift, None, dlinear


class BatchNormActivation(torch.autograd.Function):
    """`activation(weight * (x - mean) / sqrt(var + eps) + bias)`, as models/layers/norm.py.

    `mean` and `var` [E, D] are those of the global batch, of which x is one rank's part. Their
    gradients are computed here, too, with `batch_mean` again, which is self-adjoint. `linear` is
    as in AffineActivation.
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
        linear: Tensor | None,
    ) -> Tensor:
        rstd = torch.rsqrt(var + eps)
        scale = weight * rstd
        shift = torch.addcmul(bias, mean, scale, value=-1.0)
        ctx.save_for_backward(x, scale, shift, mean, rstd, linear)
        ctx.activation, ctx.batch_mean = activation, batch_mean
        return _forward(x, scale, shift, activation, linear)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, mean, rstd, linear = ctx.saved_tensors
        dx, dbias, products, dlinear = _backward(
            x, dout, scale, shift, mean, ctx.activation, linear
        )
        dweight = products * rstd
        means = torch.stack([dbias, dweight]) / x.shape[1]
        if ctx.batch_mean is not None:
            means = ctx.batch_mean(means)
        # dx = scale * (dy - mean(dy) - xhat * mean(dy * xhat)), with xhat = (x - mean) * rstd.
        factor = -scale * (means[1] * rstd)
        constant = -scale * means[0] - factor * mean
        kernels_for(x).add_affine(x, dx, factor, constant)
        return dx, dweight, dbias, None, None, None, None, None, dlinear


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance [E, D] of x [E, B, D] over B in one pass.

    Sums are over differences from the first row, because sums of squares about zero lose the
    precision of a variance that is small relative to the mean.
    """
    first = x[:, 0].float().contiguous()
    total, squares = kernels_for(x).moments(x, first)
    offset = total / x.shape[1]
    var = squares / x.shape[1] - offset.square()
    return first + offset.float(), var.clamp_min_(0.0).float()


def _forward(
    x: Tensor, scale: Tensor, shift: Tensor, activation: str, linear: Tensor | None
) -> Tensor:
    kernels, swish = kernels_for(x), activation == "swish"
    if linear is None:
        out = torch.empty_like(x)
        kernels.affine(x, scale, shift, swish, out)
        return out
    if x.dtype == torch.float32:
        return kernels.affine_linear(x, scale, shift, swish, linear)
    h_EBO = x.new_empty(*x.shape[:2], linear.shape[1])
    for rows in chunks(x.shape[0] * x.shape[2], x):
        out = torch.empty_like(x[:, rows], memory_format=torch.contiguous_format)
        kernels.affine(x[:, rows], scale, shift, swish, out)
        h_EBO[:, rows] = torch.bmm(out, linear.mT)
    return h_EBO


def _backward(
    x: Tensor,
    dout: Tensor,
    scale: Tensor,
    shift: Tensor,
    center: Tensor,
    activation: str,
    linear: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return dx for constant scale and shift, sums of dy and dy * (x - center), and dlinear."""
    kernels, swish = kernels_for(x), activation == "swish"
    dx, totals = torch.empty_like(x), scale.new_zeros(2, *scale.shape, dtype=torch.float64)
    affine = (scale, shift, center, totals, swish)
    dout = with_dense_rows(dout)
    if linear is None:
        dlinear = None
        kernels.affine_backward(x, dout, dx, None, *affine)
    elif x.dtype == torch.float32:
        dlinear = kernels.affine_linear_backward(x, dout, dx, *affine, linear)
    else:
        dlinear = torch.zeros_like(linear)
        for rows in chunks(x.shape[0] * x.shape[2], x):
            dh = dout[:, rows]
            out = dact = torch.bmm(dh, linear)
            kernels.affine_backward(x[:, rows], dact, dx[:, rows], out, *affine)
            dlinear.baddbmm_(dh.mT, out)
    dshift, products = totals.float()
    return dx, dshift, products, dlinear
