"""The step beside the fused kernel: TorchRec's own in float32, and one that works in float16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from embeddings.unfused_optimizer import UnfusedRowWiseAdagrad

_ROWS, _DIM = 6, 4


def gradients() -> list[Tensor]:
    """Of some steps; the last row has none, and one row's are small."""
    random = torch.Generator().manual_seed(1)
    found = torch.randn(5, _ROWS, _DIM, generator=random)
    found[:, -1], found[:, 0] = 0, found[:, 0] * 1e-3
    return list(found)


def train(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> Tensor:
    for gradient in gradients():
        weight.grad = gradient.to(weight.dtype)
        optimizer.step()
    return weight.detach()


def weights(dtype: torch.dtype) -> nn.Parameter:
    drawn = torch.randn(_ROWS, _DIM, generator=torch.Generator().manual_seed(0))
    return nn.Parameter(drawn.to(dtype))


def test_it_is_torchrecs_in_float32() -> None:
    ours, theirs = weights(torch.float32), weights(torch.float32)
    mine, other = UnfusedRowWiseAdagrad([ours], lr=0.1, eps=1e-8), RowWiseAdagrad([theirs], lr=0.1)
    other.param_groups[0]["eps"] = 1e-8
    torch.testing.assert_close(train(mine, ours), train(other, theirs))
    torch.testing.assert_close(mine.state[ours]["sum"], other.state[theirs]["sum"])


def test_float16_is_float32_rounded_and_leaves_rows_without_a_gradient() -> None:
    half, full = weights(torch.float16), weights(torch.float32)
    last = half[-1].detach().clone()
    optimizer = UnfusedRowWiseAdagrad([half], lr=0.1, eps=1e-8)
    trained = train(optimizer, half)
    assert torch.equal(trained[-1], last)
    wanted = train(UnfusedRowWiseAdagrad([full], lr=0.1, eps=1e-8), full)
    torch.testing.assert_close(trained.float(), wanted, rtol=0, atol=4e-3)
    assert optimizer.state[half]["sum"].dtype == torch.float32


def test_parameters_without_a_gradient_are_passed_over() -> None:
    weight = weights(torch.float32)
    before = weight.detach().clone()
    UnfusedRowWiseAdagrad([weight], lr=0.1, eps=1e-8).step()
    assert torch.equal(weight.detach(), before)
