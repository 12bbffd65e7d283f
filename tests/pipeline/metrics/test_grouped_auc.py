"""The area under the ROC curve counts pairs: against references, and what must not change it."""

import math
from random import Random

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

from pipeline.metrics.grouped_auc import grouped_auc

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@st.composite
def rows(draw: st.DrawFn, num_groups: int = 4) -> Rows:
    """Scores with many ties (and both zeros), labels, groups; of one class or none at times."""
    size = draw(st.integers(0, 60))
    scores = draw(
        arrays.arrays(np.float32, size, elements=st.sampled_from([-2.5, -1, -0.0, 0.0, 1e-30, 7]))
    )
    labels = draw(arrays.arrays(np.int8, size, elements=st.integers(0, 1)))
    groups = draw(arrays.arrays(np.int64, size, elements=st.integers(0, num_groups - 1)))
    return torch.from_numpy(scores), torch.from_numpy(labels), torch.from_numpy(groups)


def share_of_pairs_won(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The definition, pair by pair."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    if not len(positives) or not len(negatives):
        return math.nan
    margins = positives[:, None] - negatives[None, :]
    return float(((margins > 0).double() + (margins == 0).double() / 2).mean())


@settings(deadline=None)
@given(rows())
def test_equals_the_definition_group_by_group(sample: Rows) -> None:
    scores, labels, groups = sample
    result = grouped_auc(scores, labels, groups, 4)
    for group in range(4):
        mask = groups == group
        expected = share_of_pairs_won(scores[mask], labels[mask])
        assert float(result.auc_G[group]) == pytest.approx(expected, abs=1e-15, nan_ok=True)
        assert int(result.positives_G[group]) == int((labels[mask] == 1).sum())
        assert int(result.negatives_G[group]) == int((labels[mask] == 0).sum())


@settings(deadline=None)
@given(rows(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(sample: Rows, random: Random) -> None:
    scores, labels, groups = sample
    before = grouped_auc(scores, labels, groups, 4)
    order = torch.tensor(random.sample(range(len(scores)), len(scores)), dtype=torch.int64)
    after = grouped_auc(scores[order], labels[order], groups[order], 4)
    torch.testing.assert_close(after.auc_G, before.auc_G, rtol=0, atol=0, equal_nan=True)


@settings(deadline=None)
@given(rows())
def test_a_monotone_map_of_scores_changes_nothing_and_a_falling_one_mirrors(sample: Rows) -> None:
    scores, labels, groups = sample
    before = grouped_auc(scores, labels, groups, 4).auc_G
    ranks = torch.searchsorted(torch.unique(scores), scores).float()
    rising = grouped_auc(ranks, labels, groups, 4).auc_G
    falling = grouped_auc(-scores, labels, groups, 4).auc_G
    torch.testing.assert_close(rising, before, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(falling, 1 - before, rtol=0, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("decimals", [8, 2, 0])
def test_agrees_with_scikit_learn_and_torchmetrics(decimals: int) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(20_000, generator=generator).round(decimals=decimals)
    labels = (torch.rand(20_000, generator=generator) < 0.1 + scores / 3).int()
    auc = float(grouped_auc(scores, labels, torch.zeros(20_000, dtype=torch.int64), 1).auc_G)
    assert auc == pytest.approx(roc_auc_score(labels.numpy(), scores.numpy()), abs=1e-12)
    assert auc == pytest.approx(float(binary_auroc(scores, labels)), abs=1e-6)


def test_infinite_scores_have_their_place() -> None:
    scores = torch.tensor([-math.inf, -1e38, 1e38, math.inf])
    labels = torch.tensor([0, 0, 1, 1])
    assert float(grouped_auc(scores, labels, torch.zeros(4, dtype=torch.int64), 1).auc_G) == 1.0
