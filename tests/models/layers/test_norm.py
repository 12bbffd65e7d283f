"""Batch statistics: of one process, of several ranks, and where rounding bites."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from models.layers.config import Activation, Normalization
from models.layers.fused import chunked, chunks
from models.layers.norm import EPS, MOMENTUM, BatchNorm, LayerNorm, build_norm, moments
from tests.models.building import build, perturb, rows, small_home
from tests.models.ranks import Ranks


def batch_norm(activation: Activation = "swish", dim: int = 5) -> BatchNorm:
    norm = BatchNorm(3, dim, activation)
    norm.init_weights()
    return perturb(norm.double())


def inputs(batch: int = 8, dim: int = 5) -> Tensor:
    return torch.stack([rows(batch, dim, seed=e) for e in range(3)])


@pytest.fixture(params=["chunked", "plain"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both forms of the expert layer; the plain one is what torch.compile sees."""
    if request.param == "plain":
        monkeypatch.setattr(chunks, "is_wanted", lambda: False)
    return request.param


@pytest.mark.usefixtures("form")
def test_channels_have_mean_zero_and_variance_one() -> None:
    norm = BatchNorm(3, 5, "relu").double()
    norm.init_weights()
    norm.bias.data.fill_(100.0)  # so that ReLU cuts nothing off
    y = norm(3.0 * inputs(50) + 7.0) - 100.0
    torch.testing.assert_close(y.mean(1), torch.zeros(3, 5).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(3, 5).double(), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("activation", get_args(Activation))
def test_gradients_are_those_of_finite_differences(activation: Activation) -> None:
    norm = batch_norm(activation)

    def of(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))

    arguments = (inputs().requires_grad_(), norm.weight, norm.bias)
    assert torch.autograd.gradcheck(of, arguments)


@pytest.mark.usefixtures("form")
def test_running_statistics_are_those_of_the_batches() -> None:
    norm, x = batch_norm(), 2.0 * inputs(40) + 3.0
    norm.init_weights()
    norm(x)
    torch.testing.assert_close(norm.running_mean, MOMENTUM * x.mean(1))
    expected = 1 - MOMENTUM + MOMENTUM * x.var(1, correction=0)
    torch.testing.assert_close(norm.running_var, expected)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.usefixtures("form")
def test_ranks_together_equal_one_batch(world_size: int) -> None:
    """Outputs, gradients and running statistics of a whole tower, in lock-step."""
    config = small_home()
    whole = perturb(build(config))
    v = rows(8 * world_size).requires_grad_()
    weights = torch.linspace(0.5, 2.0, v.shape[0], dtype=torch.float64)[:, None]
    logits = whole(v)
    # The mean over the batch, as a loss takes it.
    (weights * logits.square()).mean().backward()

    ranks = Ranks(world_size)
    shards = [shard.requires_grad_() for shard in v.detach().clone().chunk(world_size)]

    def of_rank(rank: int) -> tuple[Tensor, nn.Module]:
        tower = perturb(build(config))
        for module in tower.modules():
            if isinstance(module, BatchNorm):
                module.batch_mean = ranks.batch_mean(rank)
        part = tower(shards[rank])
        (weights.chunk(world_size)[rank] * part.square()).mean().backward()
        return part.detach(), tower

    parts, towers = zip(*ranks.run(of_rank), strict=True)
    torch.testing.assert_close(torch.cat(parts), logits.detach())
    assert v.grad is not None
    for shard, expected in zip(shards, v.grad.chunk(world_size), strict=True):
        assert shard.grad is not None
        torch.testing.assert_close(shard.grad / world_size, expected)
    of_ranks = [dict(tower.named_parameters()) for tower in towers]
    for name, parameter in whole.named_parameters():
        mean = sum(parameters[name].grad for parameters in of_ranks) / world_size
        torch.testing.assert_close(mean, parameter.grad)
    for name, buffer in whole.named_buffers():
        for tower in towers:
            torch.testing.assert_close(tower.get_buffer(name), buffer)


def test_batch_mean_is_called_once_forward_and_once_backward() -> None:
    ranks = Ranks(1)
    norm = batch_norm()
    norm.batch_mean = ranks.batch_mean(0)
    y = norm(inputs().requires_grad_())
    assert ranks.calls == 1
    y.sum().backward()
    assert ranks.calls == 2
    norm.eval()(inputs())
    assert ranks.calls == 2


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.usefixtures("form")
def test_variance_survives_a_large_mean(world_size: int) -> None:
    """In float32, with a mean 10,000 times the standard deviation."""
    x = (inputs(400) + 1e4).float()
    ranks = Ranks(world_size)

    def of_rank(rank: int) -> Tensor:
        norm = BatchNorm(3, 5, "relu", ranks.batch_mean(rank) if world_size > 1 else None)
        norm.init_weights()
        # Shared by all ranks: what training has long since seen.
        norm.running_mean.copy_(x.mean(1) + 0.5)
        norm.bias.data.fill_(100.0)
        return norm(x.chunk(world_size, 1)[rank]).detach() - 100.0

    y = torch.cat(list(ranks.run(of_rank)), dim=1)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(3, 5), atol=0.02, rtol=0)


@pytest.mark.usefixtures("form")
def test_constant_channels_stay_finite() -> None:
    x = torch.full((3, 8, 5), 1e4, requires_grad=True)
    norm = BatchNorm(3, 5, "swish")
    norm.init_weights()
    norm(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_both_forms_of_moments_agree_over_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    x = inputs(133)
    torch.testing.assert_close(chunked.moments(x), moments(x))


@pytest.mark.parametrize("kind", get_args(Normalization))
def test_activation_follows_each_normalization(kind: Normalization) -> None:
    norm = build_norm(kind, 3, 5, "relu", None).double()
    norm.init_weights()
    assert norm(inputs()).min() == 0


def test_layer_norm_is_torchs() -> None:
    norm = LayerNorm(3, 5, "relu").double()
    norm.init_weights()
    x = inputs()
    torch.testing.assert_close(norm(x), nn.functional.layer_norm(x, (5,), eps=EPS).relu())
