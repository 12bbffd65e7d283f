"""The expected value of a label with limits, from the probabilities of its tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.io.arrays import Float32Array


def expected_value(chances_NK: Float32Array, limits: Sequence[float]) -> NDArray[np.float64]:
    """Return E[min(value, last limit)] [N] of values from 0 up, from P(value >= limit) [N, K].

    It is the integral of the chance to reach each value, which is taken as linear between limits,
    and as 1 at 0.
    """
    at_zero_N1 = np.ones((len(chances_NK), 1))
    chances_N = np.concatenate([at_zero_N1, chances_NK], axis=1)
    found: NDArray[np.float64] = np.trapezoid(chances_N, x=np.array([0.0, *limits]), axis=1)
    return found
