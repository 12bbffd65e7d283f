"""Compares kernels with plain functions in float64."""

import torch
import torch.nn.functional as F
from torch import Tensor

SHAPES = [(1, 1, 1), (3, 1, 64), (2, 31, 65), (3, 33, 7), (2, 200, 300)]
"""Experts, rows, width: below, at and above the sizes of blocks."""
WIDTHS = [5, 150]
"""Of the output of a Linear, likewise."""


def draw(*shape: int, seed: int = 0, by_row: bool = False) -> Tensor:
    """Float32, [E, B, D]; `by_row`: a view of [B, E, D], as one product for all experts makes."""
    generator = torch.Generator().manual_seed(seed)
    if by_row:
        return draw(shape[1], shape[0], shape[2], seed=seed).transpose(0, 1)
    return torch.randn(*shape, generator=generator)


def affine_activation(x: Tensor, scale: Tensor, shift: Tensor, activation: str) -> Tensor:
    y = x * scale[:, None] + shift[:, None]
    return F.silu(y) if activation == "swish" else F.relu(y)


def with_gradients(function: object, *arguments: Tensor) -> list[Tensor]:
    """Output and gradients, by one and the same gradient of the output."""
    assert callable(function)
    arguments = tuple(t.detach().clone().requires_grad_() for t in arguments)
    out = function(*arguments)
    dout = draw(*out.shape, seed=99).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, arguments, dout)]


def assert_as_in_double(fast: object, plain: object, *arguments: Tensor) -> None:
    """Long sums that cancel are as uncertain as the largest values of their tensor."""
    expected = with_gradients(plain, *(t.double() for t in arguments))
    for got, want in zip(with_gradients(fast, *arguments), expected, strict=True):
        atol = max(1e-4, 1e-6 * want.abs().max().item())
        torch.testing.assert_close(got, want.float(), rtol=1e-4, atol=atol)
