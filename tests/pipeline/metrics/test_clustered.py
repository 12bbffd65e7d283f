"""Errors clustered by user: against a bootstrap over users, DeLong's formula, and plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.metrics.clustered import (
    CLUSTERED,
    clustered_auc,
    clustered_error,
    clustered_gauc,
)

Array = np.ndarray[Any, Any]


def rows(seed: int, num_users: int = 150) -> tuple[Array, Array, Array, Array]:
    """Two towers' scores, labels and users; users differ in their rates and in a tower's skill."""
    draw = np.random.default_rng(seed)
    users = np.repeat(np.arange(num_users), draw.integers(1, 20, num_users))
    rate, skill = draw.normal(size=(2, num_users))
    truth = rate[users] + draw.normal(size=len(users))
    labels = (draw.random(len(users)) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    ours = truth * (1 + 0.3 * skill[users]) + draw.normal(size=len(users))
    theirs = truth + draw.normal(size=len(users))
    return ours.round(1).astype(np.float32), theirs.astype(np.float32), labels, users


@pytest.mark.parametrize("name", list(CLUSTERED))
def test_the_error_of_a_difference_is_that_of_a_bootstrap_over_users(name: str) -> None:
    ours, theirs, labels, users = rows(0)
    num_users = int(users.max()) + 1
    of = CLUSTERED[name]

    def difference(chosen: Array) -> Any:
        """Of a sample of users with replacement; each draw is another user."""
        take = [np.flatnonzero(users == user) for user in chosen]
        index = np.concatenate(take)
        drawn = np.repeat(np.arange(len(take)), [len(one) for one in take])
        a, b = (of(scores[index], labels[index], drawn, len(take)) for scores in (ours, theirs))
        return a.value - b.value, a.influence_U - b.influence_U

    draw = np.random.default_rng(1)
    repeated = [difference(draw.integers(num_users, size=num_users))[0] for _ in range(600)]
    _, influence_U = difference(np.arange(num_users))
    assert clustered_error(influence_U) == pytest.approx(np.std(repeated), rel=0.1)


def test_the_metrics_are_those_of_plain_loops() -> None:
    scores, _, labels, users = rows(2)
    num_users = int(users.max()) + 3  # the last ones have no rows
    found = clustered_auc(scores, labels, users, num_users)
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.influence_U.sum() == pytest.approx(0)
    weight = total = 0.0
    for user in range(num_users):
        mine = users == user
        if 0 < labels[mine].sum() < mine.sum():
            weight += mine.sum()
            total += mine.sum() * float(roc_auc_score(labels[mine], scores[mine]))
    found = clustered_gauc(scores, labels, users, num_users)
    assert found.value == pytest.approx(total / weight)
    assert found.influence_U.sum() == pytest.approx(0)


def test_if_every_row_is_a_user_the_error_of_auc_is_delongs() -> None:
    scores, _, labels, _ = rows(3)
    pairs = scores[labels == 1][:, None] - scores[labels == 0]
    won = (pairs > 0) + 0.5 * (pairs == 0)
    variance = won.mean(1).var(ddof=1) / len(won) + won.mean(0).var(ddof=1) / won.shape[1]
    found = clustered_auc(scores, labels, np.arange(len(scores)), len(scores))
    assert clustered_error(found.influence_U) == pytest.approx(math.sqrt(variance), rel=0.01)


@pytest.mark.parametrize("of", CLUSTERED.values())
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_metric(of: Any, label: int) -> None:
    scores, _, labels, users = rows(4)
    found = of(scores, np.full_like(labels, label), users, int(users.max()) + 1)
    assert math.isnan(found.value)
    assert not found.influence_U.any()
