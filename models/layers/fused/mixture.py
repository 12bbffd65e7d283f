"""Mixtures of experts, row by row."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.layers.fused import chunks
from models.layers.fused.kernels import kernels_for, take, with_dense_rows


def mix(weights_BME: Tensor, experts_EBD: Tensor) -> Tensor:
    """Return `sum_e weights_bme experts_ebd`, [B, M, D]."""
    weights_BME = weights_BME.to(experts_EBD.dtype)
    if chunks.is_wanted() and take(weights_BME, experts_EBD):
        mixed: Tensor = _Mix.apply(weights_BME, experts_EBD)  # type: ignore[no-untyped-call]
        return mixed
    return torch.bmm(weights_BME, experts_EBD.transpose(0, 1))


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(weights, x)
        return kernels_for(weights).mix(weights, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor]:
        weights, x = ctx.saved_tensors
        return kernels_for(weights).mix_backward(weights, x, with_dense_rows(dout))
