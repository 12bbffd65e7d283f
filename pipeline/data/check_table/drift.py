"""Population stability index: how far the values of one split differ from those of another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_RANGES = 10
"""Ranges of a number with equally many training rows."""
MODERATE, LARGE = 0.1, 0.25
"""The customary limits (Siddiqi, Credit Risk Scorecards, 2006)."""


class Drift(NamedTuple):
    """The index, and what it is on average if both splits come from one distribution."""

    psi: float
    by_chance: float

    @property
    def excess(self) -> float:
        """The index above what chance explains."""
        return max(self.psi - self.by_chance, 0.0)


def compare(base: NDArray[np.float64], other: NDArray[np.float64]) -> Drift | None:
    """Compare counts by bin, [bins] each; None if one has none.

    Half a row is added to each bin, so that an empty one does not make the index infinite.
    """
    used = (base > 0) | (other > 0)
    base, other = base[used], other[used]
    if not base.sum() or not other.sum():
        return None
    p, q = ((one + 0.5) / (one + 0.5).sum() for one in (base, other))
    by_chance = (len(base) - 1) * (1 / base.sum() + 1 / other.sum())
    return Drift(float(((q - p) * np.log(q / p)).sum()), float(by_chance))


def range_limits(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lower limits of all ranges but the first, distinct and ascending."""
    if not len(values):
        return values
    ordered = np.sort(values)
    ranks = [-(-index * len(values) // NUM_RANGES) for index in range(1, NUM_RANGES)]
    limits = np.unique(ordered[[rank for rank in ranks if rank < len(values)]])
    return limits[limits > ordered[0]]


def count_ranges(values: NDArray[np.float32], limits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the numbers in each range, [ranges + 1]; the last counts the missing (NaN)."""
    known = values[~np.isnan(values)]
    found = np.bincount(
        np.searchsorted(limits, known, side="right"), minlength=len(limits) + 1
    ).astype(np.float64)
    return np.append(found, float(len(values) - len(known)))
