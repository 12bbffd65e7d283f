"""AUC and GAUC with the influence of each user, for errors clustered by user.

The influence of a user on a metric is the change of the metric, to first order, if the user gets a
little more weight. The variance of a mean or difference of metrics over other users is the sum of
squares of the influences of the mean or difference: for AUC this is Obuchowski's variance
(Biometrics 1997), which is DeLong's if every row is a user of its own. It equals the variance of a
bootstrap over users to first order, in one pass.

Influences are scaled for the number of users that they are estimated from: for AUC those with
positives and those with negatives, each class on its own; for GAUC those with both. With fewer than
MIN_USERS of them the sum of squares says little, and of one user the influence is 0 by
construction.

Suffixes: N rows, U users, P positives, M negatives.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.io.arrays import IntArray
from pipeline.metrics.grouped_auc import grouped_auc

Floats = NDArray[np.floating[Any]]


class Clustered(NamedTuple):
    """A metric and the influence of each user on it. NaN and zeros if undefined."""

    value: float
    influence_U: Floats
    counted: int
    """Users that the influences are estimated from; for AUC of the class with fewer."""


def clustered_auc(
    scores_N: Floats, labels_N: IntArray, users_N: IntArray, num_users: int
) -> Clustered:
    """Return AUC; a tied pair counts half. `users_N`: from 0 to num_users - 1."""
    is_positive_N = labels_N == 1
    scores_P, scores_M = scores_N[is_positive_N], scores_N[~is_positive_N]
    influence_U = np.zeros(num_users)
    if not len(scores_P) or not len(scores_M):
        return Clustered(math.nan, influence_U, 0)
    won_P = _share_below(scores_M, scores_P)
    won_M = 1 - _share_below(scores_P, scores_M)
    auc = float(won_P.mean())
    counted = []
    for won, users in ((won_P, users_N[is_positive_N]), (won_M, users_N[~is_positive_N])):
        counted.append(len(np.unique(users)))
        of_class_U = np.bincount(users, (won - auc) / len(won), num_users)
        influence_U += _correction(counted[-1]) * of_class_U
    return Clustered(auc, influence_U, min(counted))


def clustered_gauc(
    scores_N: Floats, labels_N: IntArray, users_N: IntArray, num_users: int
) -> Clustered:
    """Return the mean of the users' AUCs weighted by their rows, over users with both classes."""
    auc_U, positives_U, negatives_U = (
        part.numpy()
        for part in grouped_auc(
            torch.from_numpy(np.asarray(scores_N, dtype=np.float32)),
            torch.from_numpy(np.asarray(labels_N, dtype=np.int8)),
            torch.from_numpy(np.asarray(users_N, dtype=np.int64)),
            num_users,
        )
    )
    counted_U = (positives_U > 0) & (negatives_U > 0)
    rows_U = np.where(counted_U, positives_U + negatives_U, 0)
    if not counted_U.any():
        return Clustered(math.nan, np.zeros(num_users), 0)
    share_U, auc_U = rows_U / rows_U.sum(), np.where(counted_U, auc_U, 0.0)
    gauc = float((share_U * auc_U).sum())
    counted = int(counted_U.sum())
    return Clustered(gauc, _correction(counted) * share_U * (auc_U - gauc), counted)


CLUSTERED = {"auc": clustered_auc, "gauc": clustered_gauc}
"""By the names of METRICS."""

MIN_USERS = 20
"""Fewer `counted` users give no standard error."""


def clustered_error(influence_U: Floats) -> float:
    """Return the standard error over users."""
    return math.sqrt(float(np.square(influence_U).sum()))


def _correction(counted: int) -> float:
    """Return the scale of influences for `counted` users; one user has none."""
    return math.sqrt(counted / (counted - 1)) if counted > 1 else 1.0


def _share_below(others: Floats, scores: Floats) -> Floats:
    """Return for each of `scores` the share of `others` below it; equal ones count half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return below / (2 * len(others))
