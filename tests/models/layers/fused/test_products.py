"""The compiled products equal torch's, whatever the sizes."""

import pytest
import torch
from torch import Tensor

from models.layers.fused import normalize
from models.layers.fused.gated_linear import GatedLinear
from models.layers.fused.kernels import compiled
from models.layers.fused.stacked_linear import linear
from tests.models.layers.fused.comparison import (
    SHAPES,
    WIDTHS,
    affine_activation,
    assert_as_in_double,
    draw,
)

pytestmark = pytest.mark.skipif(compiled() is None, reason="no C++ compiler here")


def gated_linear(x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    masks = (
        2.0 * mixing[..., i : i + 1] * torch.bmm(low_i, up[i]).sigmoid()
        for i, low_i in enumerate(low.chunk(len(up), dim=-1))
    )
    return torch.bmm(x * sum(masks), weight.transpose(1, 2))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_linear(shape: tuple[int, int, int], width: int) -> None:
    num_experts, _, dim = shape
    assert_as_in_double(
        linear,
        lambda x, weight: torch.bmm(x, weight.mT),
        draw(*shape),
        draw(num_experts, width, dim),
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activation", ["swish", "relu"])
@pytest.mark.parametrize("shape", SHAPES)
def test_activation_and_linear(shape: tuple[int, int, int], activation: str, width: int) -> None:
    num_experts, _, dim = shape

    def plain(x: Tensor, scale: Tensor, shift: Tensor, linear: Tensor) -> Tensor:
        return torch.bmm(affine_activation(x, scale, shift, activation), linear.mT)

    def fast(x: Tensor, scale: Tensor, shift: Tensor, linear: Tensor) -> Tensor:
        out: Tensor = normalize.AffineActivation.apply(x, scale, shift, activation, linear)  # type: ignore[no-untyped-call]
        return out

    assert_as_in_double(
        fast,
        plain,
        draw(*shape),
        draw(num_experts, dim, seed=1),
        draw(num_experts, dim, seed=2),
        draw(num_experts, width, dim, seed=3),
    )


@pytest.mark.parametrize("shared", [True, False], ids=["one input", "an input each"])
@pytest.mark.parametrize("num_masks", [1, 3])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gated_linear(
    shape: tuple[int, int, int], width: int, num_masks: int, shared: bool
) -> None:
    num_experts, batch, dim = shape
    assert_as_in_double(
        GatedLinear.apply,
        gated_linear,
        draw(batch, dim) if shared else draw(*shape),
        draw(num_experts, batch, 2 * num_masks, seed=1),
        draw(num_experts, batch, num_masks, seed=2),
        draw(num_masks, num_experts, 2, dim, seed=3),
        draw(num_experts, width, dim, seed=4),
    )


def test_masks_may_have_a_high_rank() -> None:
    """Above the number of columns of a block."""
    assert_as_in_double(
        GatedLinear.apply,
        gated_linear,
        draw(130, 65),
        draw(2, 130, 300, seed=1) / 12,
        draw(2, 130, 2, seed=2),
        draw(2, 2, 150, 65, seed=3),
        draw(2, 5, 65, seed=4),
    )
