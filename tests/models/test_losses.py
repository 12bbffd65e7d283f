"""The loss of several tasks, some labels missing."""

import math

import pytest
import torch
from torch import Tensor

from models.losses import multi_task_loss

NAN = math.nan


def batch(num_rows: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels with some missing, row weights."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(num_rows, 3, generator=generator, dtype=torch.float64)
    labels = (torch.rand(num_rows, 3, generator=generator) < 0.4).double()
    labels[torch.rand(num_rows, 3, generator=generator) < 0.3] = NAN
    return logits.requires_grad_(), labels, torch.rand(num_rows, generator=generator).double()


TASK_WEIGHTS = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)


def test_loss_is_what_one_writes_by_hand() -> None:
    logits, labels, row_weights = batch()
    total, per_task = multi_task_loss(logits, labels, row_weights, TASK_WEIGHTS)
    expected = [0.0, 0.0, 0.0]
    for b in range(12):
        for t in range(3):
            p = 1 / (1 + math.exp(-logits[b, t].item()))
            if labels[b, t] == 1:
                expected[t] -= row_weights[b].item() * math.log(p) / 12
            if labels[b, t] == 0:
                expected[t] -= row_weights[b].item() * math.log(1 - p) / 12
    torch.testing.assert_close(per_task, torch.tensor(expected).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(total, (per_task * TASK_WEIGHTS).sum())
    assert not per_task.requires_grad


def test_missing_labels_have_a_gradient_of_exactly_zero() -> None:
    logits, labels, row_weights = batch()
    logits.data[0] = torch.tensor([1e4, -1e4, 0.0])
    labels[0] = NAN
    total, _ = multi_task_loss(logits, labels, row_weights, TASK_WEIGHTS)
    (dlogits,) = torch.autograd.grad(total, logits)
    missing = labels.isnan()
    assert (dlogits[missing] == 0).all()
    assert (dlogits[~missing] != 0).all()


def test_batch_without_labels_is_no_loss() -> None:
    logits, labels, row_weights = batch()
    total, per_task = multi_task_loss(logits, labels * NAN, row_weights, TASK_WEIGHTS)
    assert total == 0
    assert (per_task == 0).all()


@pytest.mark.parametrize("world_size", [2, 3])
def test_mean_over_ranks_is_the_loss_of_the_global_batch(world_size: int) -> None:
    """However unevenly the missing labels fall."""
    logits, labels, row_weights = batch()
    labels[:4] = NAN
    total, per_task = multi_task_loss(logits, labels, row_weights, TASK_WEIGHTS)
    shards = zip(*(x.chunk(world_size) for x in (logits, labels, row_weights)), strict=True)
    parts = [multi_task_loss(a, b, c, TASK_WEIGHTS) for a, b, c in shards]
    torch.testing.assert_close(torch.stack([part for part, _ in parts]).mean(), total)
    torch.testing.assert_close(torch.stack([part for _, part in parts]).mean(0), per_task)


def test_loss_of_large_logits_is_finite() -> None:
    logits = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    labels = torch.tensor([[0.0], [1.0]])
    total, _ = multi_task_loss(logits, labels, torch.ones(2), torch.ones(1))
    assert total == 1e4
    (dlogits,) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(dlogits, torch.tensor([[0.5], [-0.5]]))
