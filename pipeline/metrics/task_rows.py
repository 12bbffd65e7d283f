"""The argument of metrics: one task's scored rows, and their sums.

Suffixes: N rows, G users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.metrics.grouped_auc import grouped_auc
from pipeline.metrics.spec import ratio


@dataclass(frozen=True, kw_only=True)
class TaskSums:
    """Sums over one task's rows with a known label and a weight above 0. All but the first two are
    weighted; without weights, those two are `weight` and `positive_weight`."""

    rows: int
    positives: int
    weight: float
    positive_weight: float
    loss: float
    """Binary cross-entropy in nats."""
    predicted: float
    """Probabilities."""

    @property
    def entropy(self) -> float:
        """Loss of predicting the base rate for every row, in nats."""
        weights = (self.positive_weight, self.weight - self.positive_weight)
        return sum(w * math.log(self.weight / w) for w in weights if w > 0)


NO_GROUP = -1
"""Group of rows without a user."""


class UserAuc(NamedTuple):
    mean: float
    """Mean over `users` with both classes, weighted by the sum of their rows' weights."""
    users: int
    left_out: int
    """Number of users with rows of one class."""
    rows_without_user: int
    """Number of rows without a user, which are left out, too."""


@dataclass(frozen=True, kw_only=True)
class TaskRows(TaskSums):
    """One task's rows with a known label, from all ranks, in no particular order."""

    scores_N: Tensor
    """float32 logits, because probabilities would have ties near 0 and 1."""
    labels_N: Tensor
    """int8, 0 or 1."""
    users_N: Tensor
    """int64 from 0: groups of rows, or NO_GROUP. Empty in a window of training."""
    weights_N: Tensor | None = None
    """float32, above 0; None: all 1."""
    scores_are_logits: bool = True
    """Whether scores are logits; otherwise probabilities of an oracle."""

    @property
    def probabilities_N(self) -> Tensor:
        """float64."""
        scores_N = self.scores_N.double()
        return scores_N.sigmoid() if self.scores_are_logits else scores_N

    @cached_property
    def auc(self) -> float:
        """AUC; a tied pair counts half. NaN for one class, or if a score is NaN."""
        if self._has_nan:
            return math.nan
        group_N = torch.zeros_like(self.labels_N, dtype=torch.int64)
        return float(grouped_auc(self.scores_N, self.labels_N, group_N, 1, self.weights_N).auc_G)

    @cached_property
    def user_auc(self) -> UserAuc:
        grouped_N = self.users_N != NO_GROUP
        without = len(grouped_N) - int(grouped_N.sum())
        if self._has_nan:
            return UserAuc(math.nan, 0, 0, without)
        users_N = self.users_N[grouped_N]
        num_users = int(users_N.max()) + 1 if users_N.numel() else 0
        auc_G, positives_G, negatives_G = grouped_auc(
            self.scores_N[grouped_N],
            self.labels_N[grouped_N],
            users_N,
            num_users,
            None if self.weights_N is None else self.weights_N[grouped_N],
        )
        rows_G = positives_G + negatives_G
        counted_G = (positives_G > 0) & (negatives_G > 0)
        weighted = float((auc_G * rows_G)[counted_G].sum())
        users = int(counted_G.sum())
        mean = ratio(weighted, float(rows_G[counted_G].sum()))
        return UserAuc(mean, users, int((rows_G > 0).sum()) - users, without)

    @cached_property
    def _has_nan(self) -> bool:
        return bool(self.scores_N.isnan().any())
