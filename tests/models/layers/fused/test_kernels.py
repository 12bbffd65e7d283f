"""The compiled kernels equal the torch forms, whatever the sizes, strides and threads."""

import copy
import math
from collections.abc import Iterator
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.layers.config import Normalization
from models.layers.fused import kernels as module
from models.layers.fused import normalize
from models.layers.fused.kernels import Kernels, compiled
from models.layers.fused.mixture import mix
from models.towers.config import HomeConfig, MmoeConfig, PleConfig
from tests.models.building import TASKS, perturb
from tests.models.layers.fused.comparison import (
    SHAPES,
    affine_activation,
    assert_as_in_double,
    draw,
)


@pytest.fixture(scope="module", autouse=True)
def kernel() -> Iterator[Kernels]:
    with pytest.MonkeyPatch.context() as context:
        context.setenv("HOMEREC_KERNELS", "1")
        module._load.cache_clear()
        found = compiled()
        if found is None:
            pytest.skip("no C++ compiler here")
        yield found
    module._load.cache_clear()


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    scale = weight * torch.rsqrt(x.var(1, correction=0) + 1e-5)
    return affine_activation(x, scale, bias - x.mean(1) * scale, activation)


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("activation", ["swish", "relu"])
@pytest.mark.parametrize("shape", SHAPES)
def test_affine_activation(shape: tuple[int, int, int], activation: str, by_row: bool) -> None:
    num_experts, _, dim = shape
    assert_as_in_double(
        lambda *t: normalize.AffineActivation.apply(*t, activation, None),  # type: ignore[no-untyped-call]
        lambda x, scale, shift: affine_activation(x, scale, shift, activation),
        draw(*shape, by_row=by_row),
        draw(num_experts, dim, seed=1),
        draw(num_experts, dim, seed=2),
    )


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("activation", ["swish", "relu"])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[1] > 1])
def test_batch_norm_activation(shape: tuple[int, int, int], activation: str, by_row: bool) -> None:
    def fast(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mean, var = normalize.moments(x.detach())
        out: Tensor = normalize.BatchNormActivation.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, mean, var, 1e-5, activation, None, None
        )
        return out

    num_experts, _, dim = shape
    assert_as_in_double(
        fast,
        lambda x, weight, bias: batch_norm(x, weight, bias, activation),
        3.0 + draw(*shape, by_row=by_row),
        draw(num_experts, dim, seed=1),
        draw(num_experts, dim, seed=2),
    )


def test_moments_keep_a_small_variance_beside_a_large_mean() -> None:
    x = 1000.0 + 0.01 * draw(2, 500, 70)
    mean, var = normalize.moments(x)
    torch.testing.assert_close(mean, x.double().mean(1).float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(var, x.double().var(1, correction=0).float(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("num_mixtures", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_mix(shape: tuple[int, int, int], num_mixtures: int) -> None:
    num_experts, batch, _ = shape
    assert_as_in_double(
        mix,
        lambda weights, x: torch.bmm(weights, x.transpose(0, 1)),
        draw(batch, num_mixtures, num_experts, seed=1),
        draw(*shape),
    )


def kernels_alone(kernel: Kernels) -> list[Tensor]:
    """What the kernels return, without the products of torch between them."""
    x, scale, shift, dout = draw(2, 300, 130), draw(2, 130), draw(2, 130, seed=1), draw(2, 300, 130)
    out, dx, totals = torch.empty_like(x), torch.empty_like(x), x.new_zeros(2, 2, 130).double()
    kernel.affine(x, scale, shift, True, out)
    kernel.affine_backward(x, dout, dx, None, scale, shift, scale, totals, True)
    weight = draw(2, 150, 130, seed=5)
    h = kernel.affine_linear(x, scale, shift, True, weight)
    affine = (dx.clone(), scale, shift, scale, totals.clone(), True, weight)
    dweight = kernel.affine_linear_backward(x, h, *affine)
    gated = (x[0], draw(2, 300, 6), draw(2, 300, 2, seed=1), draw(2, 2, 3, 130, seed=2))
    mixing = draw(300, 3, 2)
    mixed = kernel.mix(mixing, x)
    return [
        *(out, dx, totals, kernel.moments(x, shift), h, *affine[::4], dweight),
        *(kernel.linear(x, weight), *kernel.linear_backward(x, weight, h)),
        kernel.gated_linear(*gated, weight),
        *kernel.gated_linear_backward(*gated, weight, h),
        *kernel.gated_linear_backward(x, *gated[1:], weight, h),
        *(mixed, *kernel.mix_backward(mixing, x, mixed)),
        *gates_alone(kernel, dout.bfloat16(), *(t.bfloat16() for t in gated)),
    ]


def gates_alone(
    kernel: Kernels, dout: Tensor, x: Tensor, low: Tensor, mixing: Tensor, up: Tensor
) -> list[Tensor]:
    masked, dx, dmixing = torch.empty_like(dout), torch.empty_like(x), torch.empty_like(mixing)
    kernel.gate(x, low, mixing, up, masked)
    dmasked, dhigh = dout.clone(), x.new_empty(4, *dout.shape[1:])
    kernel.gate_backward(x, low, mixing, up, dmasked, dx, dmixing, dhigh)
    return [masked, dmasked, dx, dmixing, dhigh]


def test_threads_change_no_bit(kernel: Kernels) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = kernels_alone(kernel)
        for threads in 2, 3:  # whole experts by thread; blocks of rows
            torch.set_num_threads(threads)
            assert all(map(torch.equal, one, kernels_alone(kernel)))
    finally:
        torch.set_num_threads(before)


def affine(kernel: Kernels, x: Tensor, scale: Tensor, shift: Tensor, swish: bool) -> Tensor:
    out = torch.empty_like(x)
    kernel.affine(x, scale, shift, swish, out)
    return out


@pytest.mark.parametrize("tower", [HomeConfig, MmoeConfig, PleConfig])
@pytest.mark.parametrize("normalization", get_args(Normalization))
def test_towers_equal_the_chunked_form(
    tower: type[HomeConfig | MmoeConfig | PleConfig],
    normalization: Normalization,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In training and in evaluation, with their gradients: both as near to float64."""
    built = tower(expert_hidden=(70, 9), expert_dim=33, normalization=normalization).build(
        num_features=75, tasks=TASKS
    )
    built.init_weights(0)
    perturb(built)

    def run(dtype: torch.dtype) -> list[Tensor]:
        clone, v = copy.deepcopy(built).to(dtype), draw(40, 75).to(dtype).requires_grad_()
        out = clone(v)
        (out * draw(*out.shape, seed=1)).sum().backward()
        assert v.grad is not None
        gradients = [p.grad for p in clone.parameters() if p.grad is not None]
        return [out.detach(), v.grad, *gradients, *clone.buffers(), clone.eval()(v).detach()]

    exact, fast = run(torch.float64), run(torch.float32)
    monkeypatch.setattr(module, "compiled", lambda: None)
    chunked = run(torch.float32)
    for want, a, b in zip(exact, fast, chunked, strict=True):
        allowed = 20 * (b - want).abs().max() + 1e-6 * want.abs().max()
        assert (a - want).abs().max() <= allowed
    assert not all(map(torch.equal, fast, chunked))  # two forms indeed


def test_values_that_are_not_finite_stay_so(kernel: Kernels) -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -1e30, 0.0])[None, None]
    one, zero = torch.ones(1, 6), torch.zeros(1, 6)
    torch.testing.assert_close(affine(kernel, x, one, zero, False), F.relu(x), equal_nan=True)
    swish = affine(kernel, x, one, zero, True)[0, 0]
    assert not swish[:3].isfinite().any()
    torch.testing.assert_close(swish[3:], F.silu(x[0, 0, 3:]))
    # One mask of rank 1 on one feature, whose product is the row's value.
    scalar = torch.ones(1, 1, 1)
    masked = kernel.gated_linear(one.mT, x.mT, 0.5 * one[..., None], scalar[None], scalar)[0, :, 0]
    assert not masked[:3].isfinite().any()
    torch.testing.assert_close(masked[3:], x[0, 0, 3:].sigmoid())
    dout = torch.tensor([math.nan, math.inf, 1.0, 1.0, 1.0, 1.0])[None, None]
    dx, totals = torch.empty_like(x), torch.zeros(2, 1, 6, dtype=torch.float64)
    kernel.affine_backward(torch.ones_like(x), dout, dx, None, one, zero, zero, totals, True)
    assert not dx[0, 0, :2].isfinite().any()
    assert dx[0, 0, 2:].isfinite().all()


def test_bfloat16_is_rounded_once(kernel: Kernels) -> None:
    x = draw(2, 40, 70).bfloat16()
    scale, shift = draw(2, 70, seed=1), draw(2, 70, seed=2)
    got = affine(kernel, x, scale, shift, True)
    want = affine_activation(x.float(), scale, shift, "swish").bfloat16()
    assert (got != want).float().mean() < 0.01  # where the last bit of float32 decides
    torch.testing.assert_close(got, want, rtol=2**-7, atol=1e-6)
    nan = torch.full((1, 1, 1), math.nan, dtype=torch.bfloat16)
    assert affine(kernel, nan, torch.ones(1, 1), torch.zeros(1, 1), True).isnan().all()


def test_activations_are_accurate(kernel: Kernels) -> None:
    x = torch.linspace(-100, 100, 200_001)[None, None]
    got = affine(kernel, x, torch.ones(1, x.shape[2]), torch.zeros(1, x.shape[2]), True)
    want = F.silu(x.double())
    assert ((got - want).abs() <= 4e-7 * want.abs() + 1e-35).all()
