"""Scores predictions against true probabilities, per task. All [T], float64, on CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def regret(logits_NT: Tensor, truth_NT: Tensor) -> Tensor:
    """Return the mean divergence of predicted from true probabilities, in nats a row.

    That is the expected log loss minus that of the oracle, without the noise of labels.
    """
    return cross_entropy(logits_NT, truth_NT.sigmoid()) - cross_entropy(
        truth_NT, truth_NT.sigmoid()
    )


def cross_entropy(logits_NT: Tensor, probability_NT: Tensor) -> Tensor:
    """Return the mean log loss in nats, for labels or probabilities."""
    losses_NT = F.binary_cross_entropy_with_logits(
        logits_NT.double(), probability_NT.double(), reduction="none"
    )
    return losses_NT.mean(0)


def entropy(rates_T: Tensor) -> Tensor:
    """Return the entropy of rates in nats: the loss of predicting the rate for every row."""
    return torch.special.entr(rates_T.double()) + torch.special.entr(1 - rates_T.double())


def expected_auc(logits_NT: Tensor, truth_NT: Tensor) -> Tensor:
    """Return the area under the ROC curve with a row counted as positive by its probability.

    Equal scores count half.
    """
    probability_NT = truth_NT.sigmoid()
    total_T = probability_NT.sum(0) * (1 - probability_NT).sum(0)
    same_T = (probability_NT * (1 - probability_NT)).sum(0)  # no pair with itself
    won_T = (_won(logits_NT, probability_NT) + _won(logits_NT.flip(0), probability_NT.flip(0))) / 2
    return won_T / (total_T - same_T)


def _won(logits_NT: Tensor, probability_NT: Tensor) -> Tensor:
    """Return the weight of pairs in the right order; equal scores by their place."""
    order_NT = logits_NT.argsort(dim=0, stable=True)
    positive_NT = probability_NT.gather(0, order_NT)
    negative_NT = 1 - positive_NT
    return (positive_NT * (negative_NT.cumsum(0) - negative_NT)).sum(0)
