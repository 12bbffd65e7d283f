"""Non-negative least squares on relative errors."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray

_ROUNDS = 5
# Lower bound of predicted / measured, which limits the weight of an observation.
_LOWEST = 0.1
# An additional column must reduce the error by more than rounding.
_GAIN = 1e-15


def fit(columns: FloatArray, measured: FloatArray) -> tuple[FloatArray, float]:
    """Fit [K] constants >= 0 to [N, K] columns and [N] positive values; also return the error.

    Minimizes the sum of (predicted - measured)^2 / (predicted x measured), which treats factors of
    2 and 1/2 equally; minimizing (predicted / measured - 1)^2 would be biased low. The error is the
    root mean square of predicted / measured - 1.
    """
    assert (measured > 0).all()
    scale = measured
    for _ in range(_ROUNDS):
        found = _no_negative(columns / scale[:, None], measured / scale)
        predicted = columns @ found
        scale = np.sqrt(measured * np.maximum(predicted, _LOWEST * measured))
    return found, float(np.sqrt(np.mean((predicted / measured - 1) ** 2)))


def _no_negative(columns: FloatArray, wanted: FloatArray) -> FloatArray:
    """Return the best least squares solution over all subsets of columns, [K]; K is small."""
    count = columns.shape[1]
    best = np.zeros(count)
    whole = least = float(wanted @ wanted)
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            part = columns[:, chosen]
            lengths = np.linalg.norm(part, axis=0)
            if not lengths.all():
                continue
            # Normalize the columns: bytes and counts differ by many orders of magnitude.
            answer = np.linalg.lstsq(part / lengths, wanted, rcond=None)[0] / lengths
            if (answer < 0).any():
                continue
            rest = part @ answer - wanted
            if rest @ rest < least - _GAIN * whole:
                least = float(rest @ rest)
                best = np.zeros(count)
                best[list(chosen)] = answer
    return best
