"""The loss of several tasks, some labels missing."""

import math

import pytest
import torch
from torch import Tensor

from models.losses import known_shares, task_losses

NAN = math.nan


def batch(num_rows: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels with some missing, row weights."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(num_rows, 3, generator=generator, dtype=torch.float64)
    labels = (torch.rand(num_rows, 3, generator=generator) < 0.4).double()
    labels[torch.rand(num_rows, 3, generator=generator) < 0.3] = NAN
    return logits.requires_grad_(), labels, torch.rand(num_rows, generator=generator).double()


def test_loss_is_what_one_writes_by_hand() -> None:
    logits, labels, row_weights = batch()
    losses = task_losses(logits, labels, row_weights[:, None])
    expected, known = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    for b in range(12):
        for t in range(3):
            p = 1 / (1 + math.exp(-logits[b, t].item()))
            if labels[b, t] == 1:
                expected[t] -= row_weights[b].item() * math.log(p) / 12
            if labels[b, t] == 0:
                expected[t] -= row_weights[b].item() * math.log(1 - p) / 12
            known[t] += 0.0 if labels[b, t].isnan() else row_weights[b].item() / 12
    torch.testing.assert_close(losses, torch.tensor(expected).double(), rtol=1e-5, atol=0)
    shares = known_shares(labels, row_weights[:, None])
    torch.testing.assert_close(shares, torch.tensor(known).double(), rtol=1e-5, atol=0)


def test_missing_labels_have_a_gradient_of_exactly_zero() -> None:
    logits, labels, row_weights = batch()
    logits.data[0] = torch.tensor([1e4, -1e4, 0.0])
    labels[0] = NAN
    losses = task_losses(logits, labels, row_weights[:, None])
    (dlogits,) = torch.autograd.grad(losses.sum(), logits)
    missing = labels.isnan()
    assert (dlogits[missing] == 0).all()
    assert (dlogits[~missing] != 0).all()


def test_batch_without_labels_is_no_loss() -> None:
    logits, labels, row_weights = batch()
    assert (task_losses(logits, labels * NAN, row_weights[:, None]) == 0).all()
    assert (known_shares(labels * NAN, row_weights[:, None]) == 0).all()


@pytest.mark.parametrize("world_size", [2, 3])
def test_mean_over_ranks_is_the_loss_of_the_global_batch(world_size: int) -> None:
    """However unevenly the missing labels fall."""
    logits, labels, row_weights = batch()
    labels[:4] = NAN
    weights = row_weights[:, None]
    whole = task_losses(logits, labels, weights)
    shards = zip(*(x.chunk(world_size) for x in (logits, labels, weights)), strict=True)
    parts = torch.stack([task_losses(a, b, c) for a, b, c in shards])
    torch.testing.assert_close(parts.mean(0), whole)


def test_loss_of_large_logits_is_finite() -> None:
    logits = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    labels = torch.tensor([[0.0], [1.0]])
    loss = task_losses(logits, labels, torch.ones(2, 1)).sum()
    assert loss == 1e4
    (dlogits,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(dlogits, torch.tensor([[0.5], [-0.5]]))
