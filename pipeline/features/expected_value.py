"""The expected value of a label with limits, from the probabilities of its tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.features.limits import integral
from pipeline.io.arrays import Float32Array


def expected_value(chances_NK: Float32Array, limits: Sequence[float]) -> NDArray[np.float64]:
    """Return E[min(value, last limit)] [N] from P(value >= limit) [N, K] (see `integral`)."""
    constant, weights = integral(limits)
    found: NDArray[np.float64] = constant + chances_NK.astype(np.float64) @ np.array(weights)
    return found
