"""Scale, shift and activation of E experts' outputs, and the Linear behind them, in few passes.

Only the input is saved for backward, which computes the rest again, by chunks of rows that stay in
cache. `python -m benchmarks.tower` compares this with the plain form.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.layers.fused.chunks import chunks
from models.layers.fused.kernels import kernels


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
        if kernel := kernels(x):
            kernel.add_affine(x, dx, factor, constant)
        else:
            for rows in _rows(x):
                dx[:, rows].add_(torch.addcmul(constant[:, None], x[:, rows], factor[:, None]))
        return dx, dweight, dbias, None, None, None, None, None, dlinear


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance [E, D] of x [E, B, D] over B in one pass.

    Sums are over differences from the first row, because sums of squares about zero lose the
    precision of a variance that is small relative to the mean.
    """
    first = x[:, 0].to(torch.promote_types(x.dtype, torch.float32)).contiguous()
    if kernel := kernels(x):
        total, squares = kernel.moments(x, first)
    else:
        total, squares = torch.zeros_like(first), torch.zeros_like(first)
        for rows in _rows(x):
            difference = x[:, rows] - first[:, None]
            total += difference.sum(1)
            squares += difference.square_().sum(1)
    offset = total / x.shape[1]
    var = squares / x.shape[1] - offset.square()
    return first + offset.to(first.dtype), var.clamp_min_(0.0).to(first.dtype)


def _forward(
    x: Tensor, scale: Tensor, shift: Tensor, activation: str, linear: Tensor | None
) -> Tensor:
    if linear is None:
        out = torch.empty_like(x)
        for rows in [slice(None)] if kernels(x) else _rows(x):
            _affine(x[:, rows], scale, shift, activation, out[:, rows])
        return out
    h_EBO = x.new_empty(*x.shape[:2], linear.shape[1])
    for rows in _rows(x):
        out = torch.empty_like(x[:, rows], memory_format=torch.contiguous_format)
        _affine(x[:, rows], scale, shift, activation, out)
        h_EBO[:, rows] = torch.bmm(out, linear.mT)
    return h_EBO


def _affine(x: Tensor, scale: Tensor, shift: Tensor, activation: str, out: Tensor) -> None:
    if kernel := kernels(x):
        kernel.affine(x, scale, shift, activation == "swish", out)
        return
    torch.addcmul(shift[:, None], x, scale[:, None], out=out)
    F.silu(out, inplace=True) if activation == "swish" else out.relu_()


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
    dx = torch.empty_like(x)
    precise = torch.float64 if kernels(x) else scale.dtype
    totals = scale.new_zeros(2, *scale.shape, dtype=precise)
    affine = (scale, shift, center, totals, activation)
    if linear is None:
        dout = dout if dout.stride(-1) == 1 else dout.contiguous()
        for rows in [slice(None)] if kernels(x) else _rows(x):
            _affine_backward(x[:, rows], dout[:, rows], dx[:, rows], *affine, out=None)
        dlinear = None
    else:
        dlinear = torch.zeros_like(linear)
        for rows in _rows(x):
            dh = dout[:, rows]
            out = dact = torch.bmm(dh, linear)
            _affine_backward(x[:, rows], dact, dx[:, rows], *affine, out=out)
            dlinear.baddbmm_(dh.mT, out)
    dshift, products = totals.to(scale.dtype)
    return dx, dshift, products, dlinear


def _affine_backward(
    x: Tensor,
    dout: Tensor,
    dx: Tensor,
    scale: Tensor,
    shift: Tensor,
    center: Tensor,
    totals: Tensor,
    activation: str,
    out: Tensor | None,
) -> None:
    """As Kernels.affine_backward."""
    if kernel := kernels(x, dout):
        kernel.affine_backward(
            x, dout, dx, out, scale, shift, center, totals, activation == "swish"
        )
        return
    y = torch.addcmul(shift[:, None], x, scale[:, None])
    dout = dout.to(y.dtype)
    if activation == "swish":
        dy = torch.ops.aten.silu_backward(dout, y)
    else:
        dy = torch.ops.aten.threshold_backward(dout, y, 0)
    torch.mul(dy, scale[:, None], out=dx)
    totals[0] += dy.sum(1)
    totals[1] += dy.mul_(x - center[:, None]).sum(1)
    if out is not None:
        out.copy_(F.silu(y) if activation == "swish" else F.relu(y))


def _rows(x: Tensor) -> list[slice]:
    return list(chunks(x.shape[0] * x.shape[2], x))
