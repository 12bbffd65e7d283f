"""Least squares with no negative constant, on relative errors."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray

_ROUNDS = 5
# Predictions further below count as this far, so that no observation weighs without end.
_LOWEST = 0.1
# More columns must tell more than rounding does.
_GAIN = 1e-15


def fit(columns: FloatArray, measured: FloatArray) -> tuple[FloatArray, float]:
    """[K] constants >= 0 for [N, K] columns and [N] positive values, and the relative error left.

    Minimises the sum of (predicted - measured)^2 / (predicted x measured), to which twice as much
    is as far off as half as much: of (predicted / measured - 1)^2 the least is too low. The error
    is the root mean square of predicted / measured - 1.
    """
    assert (measured > 0).all()
    scale = measured
    for _ in range(_ROUNDS):
        found = _no_negative(columns / scale[:, None], measured / scale)
        predicted = columns @ found
        scale = np.sqrt(measured * np.maximum(predicted, _LOWEST * measured))
    return found, float(np.sqrt(np.mean((predicted / measured - 1) ** 2)))


def _no_negative(columns: FloatArray, wanted: FloatArray) -> FloatArray:
    """[K] least squares over all sets of columns: K is small."""
    count = columns.shape[1]
    best = np.zeros(count)
    whole = least = float(wanted @ wanted)
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            part = columns[:, chosen]
            lengths = np.linalg.norm(part, axis=0)
            if not lengths.all():
                continue
            # Columns of one length: bytes and counts differ by many orders of magnitude.
            answer = np.linalg.lstsq(part / lengths, wanted, rcond=None)[0] / lengths
            if (answer < 0).any():
                continue
            rest = part @ answer - wanted
            if rest @ rest < least - _GAIN * whole:
                least = float(rest @ rest)
                best = np.zeros(count)
                best[list(chosen)] = answer
    return best
