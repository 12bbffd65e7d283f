"""Scores against true probabilities equal simple references."""

from __future__ import annotations

import torch

from pipeline.experiments.map.score import cross_entropy, entropy, expected_auc, regret
from pipeline.metrics.grouped_auc import grouped_auc


def _rows(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (200, 3)
    truth_NT = torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.randn(shape, generator=generator).round(decimals=1), truth_NT


def test_regret_is_the_divergence_and_zero_for_the_oracle() -> None:
    logits_NT, truth_NT = _rows()
    p, q = truth_NT.sigmoid(), logits_NT.double().sigmoid()
    divergence_T = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean(0)
    torch.testing.assert_close(regret(logits_NT, truth_NT), divergence_T)
    assert (regret(truth_NT, truth_NT) == 0).all()
    assert (divergence_T > 0).all()


def test_entropy_is_the_loss_of_predicting_the_rate() -> None:
    rates_T = torch.tensor([0.5, 0.03, 0.0005], dtype=torch.float64)
    torch.testing.assert_close(
        entropy(rates_T), cross_entropy(rates_T.logit()[None], rates_T[None])
    )


def test_expected_auc_is_that_of_pairs() -> None:
    logits_NT, truth_NT = _rows()
    p_NT = truth_NT.sigmoid()
    for task in range(3):
        p, s = p_NT[:, task], logits_NT[:, task]
        weight = p[:, None] * (1 - p)[None]
        won = (s[:, None] > s[None]).double() + 0.5 * (s[:, None] == s[None]).double()
        apart = 1 - torch.eye(len(p), dtype=torch.float64)
        expected = (weight * won * apart).sum() / (weight * apart).sum()
        torch.testing.assert_close(expected_auc(logits_NT, truth_NT)[task], expected)


def test_with_certain_labels_it_is_the_auc() -> None:
    logits_NT, truth_NT = _rows()
    certain_NT = torch.where(truth_NT > 0, 40.0, -40.0).double()
    groups_N = torch.zeros(len(logits_NT), dtype=torch.long)
    for task in range(3):
        label_N = (truth_NT[:, task] > 0).long()
        auc = grouped_auc(logits_NT[:, task].contiguous(), label_N, groups_N, 1).auc_G[0]
        torch.testing.assert_close(expected_auc(logits_NT, certain_NT)[task], auc)
