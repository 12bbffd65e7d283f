"""Positives that count more, negatives that are dropped: predictions stay calibrated."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.balancing.global_batch import GlobalBatch
from models.balancing.label_weights import LabelWeights
from models.losses import task_losses


def fitted(module: LabelWeights, labels: Tensor, *, corrected: bool = True) -> Tensor:
    """The constant logit of each task that minimizes what training minimizes."""
    weights = module(labels, torch.ones(len(labels)).double())
    logits = torch.zeros(labels.shape[1], dtype=torch.float64, requires_grad=True)
    shift = module.shift_T.double() if corrected else 0.0
    optimizer = torch.optim.LBFGS([logits], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        shifted = (logits + shift).expand(labels.shape)
        loss = task_losses(shifted, labels, weights).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return logits.detach()


def drawn(rates: list[float], num_rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(num_rows, len(rates), generator=generator) < torch.tensor(rates)).double()


def test_positive_weights_leave_the_fit_at_the_true_rate() -> None:
    labels = drawn([0.3, 0.02], 5_000)
    module = LabelWeights([2.0, 10.0], [1.0, 1.0], 0, GlobalBatch())
    torch.testing.assert_close(fitted(module, labels).sigmoid(), labels.mean(0), rtol=1e-4, atol=0)


def test_sampled_negatives_leave_the_fit_at_the_true_rate_but_for_chance() -> None:
    num_rows, rates, keep = 100_000, [0.3, 0.02, 0.1], [0.5, 0.1, 1.0]
    labels = drawn(rates, num_rows)
    module = LabelWeights([1.0, 1.0, 3.0], keep, 0, GlobalBatch())
    logits = fitted(module, labels)
    negatives = (labels == 0).sum(0)
    # The number kept is binomial; the logit moves by its relative error.
    error = ((1 - torch.tensor(keep)) / (negatives * torch.tensor(keep))).sqrt()
    assert ((logits - labels.mean(0).logit()).abs() <= 4 * error + 1e-6).all()
    off = fitted(module, labels, corrected=False).sigmoid() / labels.mean(0)
    assert (off > 1.5).all()


def test_a_label_counts_as_configured() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [math.nan, 0.0]])
    row_weights = torch.tensor([1.0, 0.0, 1.0])
    module = LabelWeights([5.0, 2.0], [1.0, 1.0], 0, GlobalBatch())
    weights = module(labels, row_weights)
    assert weights.tolist()[:2] == [[5.0, 1.0], [0.0, 0.0]]
    torch.testing.assert_close(module.shift_T, torch.tensor([math.log(5), math.log(2)]))
    sampled = LabelWeights([1.0], [0.25], 0, GlobalBatch())
    torch.testing.assert_close(sampled.shift_T, torch.tensor([math.log(4)]))
    kept = sampled(torch.tensor([[0.0]] * 2_000 + [[1.0]] * 100), torch.ones(2_100))
    assert set(kept.flatten().tolist()) == {0.0, 1.0}
    assert 400 < kept[:2_000].sum() < 600
    assert (kept[2_000:] == 1).all()


def test_parts_of_a_batch_draw_as_the_whole_and_a_resume_continues() -> None:
    labels, ones = torch.zeros(60, 2), torch.ones(60)
    whole = LabelWeights([1.0, 1.0], [0.5, 0.2], 7, GlobalBatch())
    draws = [whole(labels, ones) for _ in range(3)]
    assert not torch.equal(draws[0], draws[1])
    for part in range(3):
        module = LabelWeights([1.0, 1.0], [0.5, 0.2], 7, GlobalBatch(part, 3))
        for draw in draws:
            rows = slice(part * 20, part * 20 + 20)
            assert torch.equal(module(labels[rows], ones[rows]), draw[rows])
    resumed = LabelWeights([1.0, 1.0], [0.5, 0.2], 7, GlobalBatch())
    resumed.load_state_dict(LabelWeights([1.0, 1.0], [0.5, 0.2], 7, GlobalBatch()).state_dict())
    assert torch.equal(resumed(labels, ones), draws[0])
    resumed.load_state_dict(whole.state_dict())
    assert torch.equal(resumed(labels, ones), whole(labels, ones))
