"""A metric of one task for every tower, over the origins where its labels define it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.batch import NO_USER
from pipeline.experiments.rolling.predictions import MISSING, Predictions
from pipeline.io.arrays import IntArray
from pipeline.metrics.clustered import CLUSTERED

Floats = NDArray[np.floating[Any]]
Cell = tuple[str, int]
"""Name of the origin, seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A metric of one task. Towers that are left out are in no mapping."""

    value: Mapping[str, Mapping[Cell, float]]
    """By tower and cell; a number in every cell."""
    influence_U: Mapping[str, Floats]
    """Of each user on the tower's mean over cells."""
    rows: int
    """Test rows with a label at all origins."""
    users: int
    counted: int
    """Users that errors are estimated from, at the origin with the fewest."""
    undefined: tuple[str, ...] = ()
    """Origins left out: their labels define no metric."""
    diverged: tuple[str, ...] = ()
    """Towers left out: a score is not a number."""

    def mean(self, tower: str) -> float:
        return float(np.mean(list(self.value[tower].values())))


def score(
    predictions: Mapping[str, Mapping[Cell, Predictions]],
    cells: Sequence[Cell],
    metric: str,
    task: int,
) -> Scored:
    """Return the metric of task number `task`; `cells` have predictions of every tower."""
    first = next(iter(predictions.values()))
    labeled: dict[str, Predictions] = {cell[0]: first[cell] for cell in cells}
    kept = {origin: _kept(one, metric, task) for origin, one in labeled.items()}
    undefined = tuple(
        origin
        for origin, one in labeled.items()
        if not _is_defined(metric, one.labels_NT[kept[origin], task], one.users_N[kept[origin]])
    )
    cells = [cell for cell in cells if cell[0] not in undefined]
    if not cells:
        return Scored(value={}, influence_U={}, rows=0, users=0, counted=0, undefined=undefined)
    groups = {
        origin: one.users_N[kept[origin]]
        for origin, one in labeled.items()
        if origin not in undefined
    }
    users, num_users = _numbered(groups)
    value: dict[str, dict[Cell, float]] = {}
    influence: dict[str, Floats] = {}
    diverged: list[str] = []
    counted = num_users
    for tower, of_cell in predictions.items():
        scores = {cell: of_cell[cell].logits_NT[kept[cell[0]], task] for cell in cells}
        if any(np.isnan(scores_N).any() for scores_N in scores.values()):
            diverged.append(tower)
            continue
        value[tower], influence[tower] = {}, np.zeros(num_users)
        for (origin, seed), scores_N in scores.items():
            labels_N = labeled[origin].labels_NT[kept[origin], task]
            found = CLUSTERED[metric](scores_N, labels_N, users[origin], num_users)
            value[tower][origin, seed] = found.value
            counted = min(counted, found.counted)
            influence[tower] += found.influence_U / len(cells)
    return Scored(
        value=value,
        influence_U=influence,
        rows=sum(map(len, groups.values())),
        users=num_users,
        counted=counted,
        undefined=undefined,
        diverged=tuple(diverged),
    )


def _kept(one: Predictions, metric: str, task: int) -> NDArray[np.bool_]:
    """Rows with a label; for GAUC also with a user."""
    known_N = one.labels_NT[:, task] != MISSING
    return known_N & (one.users_N != NO_USER) if metric == "gauc" else known_N


def _is_defined(metric: str, labels_N: IntArray, users_N: IntArray) -> bool:
    """Whether labels have both classes; for GAUC those of some user."""
    numbers_N = np.unique(users_N, return_inverse=True)[1]
    scores_N = np.zeros(len(labels_N), dtype=np.float32)
    return CLUSTERED[metric](scores_N, labels_N, numbers_N, len(labels_N)).counted > 0


def _numbered(groups: Mapping[str, IntArray]) -> tuple[dict[str, IntArray], int]:
    """Number the users of all origins from 0; returns them by origin, and how many there are."""
    clusters, of_rows = np.unique(
        _own_user_of_rows_without(np.concatenate(list(groups.values()))), return_inverse=True
    )
    ends = np.cumsum([len(one) for one in groups.values()])
    return dict(zip(groups, np.split(of_rows, ends[:-1]), strict=True)), len(clusters)


def _own_user_of_rows_without(users_N: IntArray) -> IntArray:
    """Give each row without a user one of its own, below 0."""
    none_N = users_N == NO_USER
    return np.where(none_N, -np.cumsum(none_N), users_N)
