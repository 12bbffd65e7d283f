"""Estimates the dials of data whose probabilities are not known: conflict, shared, signal,
nonlinear.

Two probes, ridge regressions of the labels on two halves of the rows, predict a third part. What
both agree on is signal, because their errors are independent: the covariance of one's prediction of
task s and the other's of task t estimates that of the tasks' probabilities, as far as the probes
see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

_RANDOM_FEATURES = 256
_RIDGE = 1e-3
"""Relative to the number of rows; inputs have variance 1."""
_LEAST_RELIABILITY = 0.2
"""Correlation of both probes' predictions of a task, below which the task is left out."""
_MOST_INPUTS = 16
"""With more, random projections see little of products of a few inputs, and `nonlinear` would be
much too low."""
_LEAST_SHARED = 0.15
"""Below this, categories have no functions whose correlation could be measured."""


class Measured(NamedTuple):
    """Estimates; None if they cannot be measured: too few tasks that the probes can learn, one
    category, no shared structure, or many inputs (`nonlinear`). `signal` is a lower bound."""

    shared: float | None
    conflict: float | None
    signal: float | None
    nonlinear: float | None
    tasks_used: int


def measure(x_NF: Float64Array, labels_NT: Float64Array, categories: Sequence[str]) -> Measured:
    """Estimate dials from inputs of variance 1 and labels (NaN: missing), in random order."""
    rates_T = np.nanmean(labels_NT, axis=0)
    filled_NT = np.where(np.isnan(labels_NT), rates_T, labels_NT)
    linear_NF = _with_bias(x_NF)
    every_NF = np.concatenate([linear_NF, _random_features(x_NF)], axis=1)
    covariance_TT, spread_T = _agreement(every_NF, filled_NT)
    variance_T = np.diag(covariance_TT)
    used_T = (variance_T > 0) & (variance_T > _LEAST_RELIABILITY * spread_T)
    kept = np.flatnonzero(used_T)
    if not len(kept):
        return Measured(None, None, None, None, 0)
    correlation = covariance_TT[np.ix_(kept, kept)] / np.sqrt(
        np.outer(variance_T[kept], variance_T[kept])
    )
    names = np.array(categories)[kept]
    same = names[:, None] == names[None]
    shared = _mean(correlation[same & ~np.eye(len(kept), dtype=bool)])
    between = _mean(correlation[~same])
    conflict = None
    if between is not None and shared is not None and shared > _LEAST_SHARED:
        conflict = float(np.clip(between / shared, -1, 1))
    bernoulli_T = np.maximum(rates_T * (1 - rates_T) - variance_T, 1e-9)
    signal_T = np.sqrt(np.maximum(variance_T, 0)) / bernoulli_T
    nonlinear = None
    if x_NF.shape[1] <= _MOST_INPUTS:
        linear_T = np.diag(_agreement(linear_NF, filled_NT)[0])
        bent = 1 - linear_T[kept].sum() / variance_T[kept].sum()
        nonlinear = float(np.clip(bent, 0, 1))
    return Measured(
        shared=None if shared is None else float(np.clip(shared, 0, 1)),
        conflict=conflict,
        signal=float(np.median(signal_T[kept])),
        nonlinear=nonlinear,
        tasks_used=len(kept),
    )


def _mean(values: Float64Array) -> float | None:
    return float(values.mean()) if values.size else None


def _agreement(inputs_NF: Float64Array, labels_NT: Float64Array) -> tuple[Float64Array, ...]:
    """Return the covariance of the probes' predictions [T, T], and their mean variance [T]."""
    third = len(inputs_NF) // 3
    first, second, rest = slice(0, third), slice(third, 2 * third), slice(2 * third, None)
    ours_MT, theirs_MT = (
        _centered(inputs_NF[rest] @ _ridge(inputs_NF[half], labels_NT[half]))
        for half in (first, second)
    )
    covariance_TT = ours_MT.T @ theirs_MT / len(ours_MT)
    spread_T = np.sqrt(ours_MT.var(0) * theirs_MT.var(0))
    return (covariance_TT + covariance_TT.T) / 2, spread_T


def _ridge(inputs_NF: Float64Array, labels_NT: Float64Array) -> Float64Array:
    gram_FF = inputs_NF.T @ inputs_NF
    gram_FF[np.diag_indices_from(gram_FF)] += _RIDGE * len(inputs_NF)
    return np.asarray(np.linalg.solve(gram_FF, inputs_NF.T @ labels_NT), dtype=np.float64)


def _centered(values_MT: Float64Array) -> Float64Array:
    return np.asarray(values_MT - values_MT.mean(0), dtype=np.float64)


def _with_bias(x_NF: Float64Array) -> Float64Array:
    return np.concatenate([np.ones((len(x_NF), 1)), x_NF], axis=1)


def _random_features(x_NF: Float64Array) -> Float64Array:
    """Return rectified random projections, [N, 256], of variance about 1."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(x_NF.shape[1], _RANDOM_FEATURES)) / x_NF.shape[1] ** 0.5
    found: Float64Array = 1.7 * np.maximum(
        x_NF @ directions + random.normal(size=_RANDOM_FEATURES), 0
    )
    return found
