"""Means over seeds, and differences between towers trained on the same batches.

A seed gives every tower the same rows in the same order, so towers are compared seed by seed.
Initialization and order of rows vary over seeds. The errors do not cover other users or days.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from pipeline.metrics.spec import MetricSpec

Conclusion = Literal["better", "worse", "inconclusive"]

ERRORS = 2.0
"""Number of standard errors beyond which a difference counts."""

BySeed = Mapping[int, float | None]
"""A metric by seed; None if undefined (for example, only one class)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric over `n` seeds. `deviation`: sample standard deviation; None for n < 2."""

    n: int
    mean: float | None
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A tower's metric minus another tower's, over the `n` seeds that have both.

    `error`: standard error, the sample standard deviation of the differences divided by sqrt(n);
    None for n < 2. For calibration, differences of the distance to 1.
    """

    n: int
    mean: float | None
    error: float | None
    conclusion: Conclusion


def estimate(values: BySeed) -> Estimate:
    known = [value for value in values.values() if value is not None]
    return Estimate(
        n=len(known),
        mean=fmean(known) if known else None,
        deviation=stdev(known) if len(known) > 1 else None,
    )


def difference(ours: BySeed, theirs: BySeed, metric: MetricSpec) -> Difference:
    """Return `ours` minus `theirs`, paired by seed."""
    steps = [
        _compared(a, metric) - _compared(b, metric)
        for seed, a in ours.items()
        if a is not None and (b := theirs.get(seed)) is not None
    ]
    n = len(steps)
    mean = fmean(steps) if steps else None
    error = stdev(steps) / math.sqrt(n) if n > 1 else None
    return Difference(n=n, mean=mean, error=error, conclusion=_conclusion(mean, error, metric))


def false_positive_rate(n: int) -> float:
    """Return the probability that `n` >= 2 seeds show a difference by chance: P(|t| > ERRORS)."""
    return _tail(ERRORS, n)


def p_value(mean: float | None, error: float | None, n: int) -> float:
    """Return the two-sided p-value of a mean over `n` seeds with a standard error; 1 for n < 2."""
    if not mean or error is None:
        return 1.0
    return _tail(abs(mean) / error, n) if error else 0.0


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Return which of several tests reject at a family-wise error rate `level` (Holm, 1979)."""
    rejected = [False] * len(p_values)
    for done, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[i] > level / (len(p_values) - done):
            break
        rejected[i] = True
    return rejected


def _tail(t: float, n: int) -> float:
    """Return P(|T| > t) of Student's t-distribution with n - 1 degrees of freedom.

    The density is integrated over the angle atan(t / sqrt(n - 1)), by Simpson's rule.
    """
    freedom, parts = n - 1, 200
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    angle = math.atan(t / math.sqrt(freedom))
    points = [math.cos(angle * i / parts) ** (freedom - 1) for i in range(parts + 1)]
    area = points[0] + points[-1] + 4 * sum(points[1:-1:2]) + 2 * sum(points[2:-1:2])
    return max(0.0, 1 - 2 * scale * area * angle / parts / 3)


def _compared(value: float, metric: MetricSpec) -> float:
    if metric.higher_is_better is not None:
        return value
    assert metric.no_skill is not None
    return abs(value - metric.no_skill)


def _conclusion(mean: float | None, error: float | None, metric: MetricSpec) -> Conclusion:
    if mean is None or error is None or abs(mean) <= ERRORS * error:
        return "inconclusive"
    return "better" if (mean > 0) == (metric.higher_is_better is True) else "worse"
