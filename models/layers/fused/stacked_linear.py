"""Linear layers of E experts."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.layers.fused import chunks
from models.layers.fused.kernels import kernels_for, take, with_dense_rows


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return x [E, B, in] times `weight` [E, out, in], [E, B, out]."""
    # torch calls a processor's units for bfloat16.
    is_float32 = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if chunks.is_wanted() and is_float32 and take(x, weight):
        product: Tensor = _Linear.apply(x, weight)  # type: ignore[no-untyped-call]
        return product
    return torch.bmm(x, weight.mT)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return kernels_for(x).linear(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return kernels_for(x).linear_backward(x, weight, with_dense_rows(dh))
