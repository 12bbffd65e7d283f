"""Softmax over few values is torch's."""

import math

import pytest
import torch

from models.layers.softmax import softmax


@pytest.mark.parametrize("shape", [(5, 1), (3, 2, 7), (0, 4)])
def test_it_and_its_gradient_are_those_of_torch(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    x[..., 1:2] = -math.inf  # an expert that a gate does not weight
    x.requires_grad_()
    out, expected = softmax(x), x.softmax(-1)
    torch.testing.assert_close(out, expected)
    assert out.stride(-1) == 1
    dout = torch.randn_like(out)
    got, want = (torch.autograd.grad(each, x, dout)[0] for each in (out, expected))
    torch.testing.assert_close(got, want)
