"""Least squares with no negative constant, on relative errors."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from embeddings.planner.options import Floats


def fit(columns: Floats, measured: Floats) -> tuple[Floats, float]:
    """[K] constants >= 0 for [N, K] columns and [N] positive values, and the relative error left.

    Minimises the sum of (predicted / measured - 1)^2 over all sets of columns: K is small.
    """
    assert (measured > 0).all()
    scaled = columns / measured[:, None]
    ones = np.ones(len(measured))
    count = columns.shape[1]
    best = np.zeros(count)
    least = float(ones @ ones)
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            part = scaled[:, chosen]
            lengths = np.linalg.norm(part, axis=0)
            if not lengths.all():
                continue
            # Columns of one length: bytes and counts differ by many orders of magnitude.
            answer = np.linalg.lstsq(part / lengths, ones, rcond=None)[0] / lengths
            if (answer < 0).any():
                continue
            rest = part @ answer - ones
            if rest @ rest < least * (1 - 1e-9):
                least = float(rest @ rest)
                best = np.zeros(count)
                best[list(chosen)] = answer
    return best, float(np.sqrt(least / len(measured)))
