"""What several seeds say: means, and differences between towers that saw the same batches.

One seed gives every tower the same rows in the same order, so a tower is compared with another
seed by seed. What is left between seeds is the luck of the start; how the figures would move with
other users or days, these errors do not say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

Figure = Literal["auc", "gauc", "ne", "log_loss", "calibration"]
Verdict = Literal["better", "worse", "no telling"]

FIGURES: tuple[Figure, ...] = ("auc", "gauc", "ne", "log_loss", "calibration")
"""Of TaskMetrics. AUC and GAUC: higher is better; NE and log loss: lower; calibration: near 1."""

ERRORS = 2.0
"""Standard errors from 0 at which a difference is called one."""

Values = Mapping[int, float | None]
"""A figure by seed; None where it is undefined (one class only, say)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure over `n` seeds that have it. `deviation`: of the sample; None below two seeds."""

    n: int
    mean: float | None
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A tower's figure minus another tower's, over the `n` seeds that have both.

    `error`: standard error, sample deviation of the differences over root n; None below two
    seeds. For calibration both are differences of the distance to 1.
    """

    n: int
    mean: float | None
    error: float | None
    verdict: Verdict


def estimate(values: Values) -> Estimate:
    known = [value for value in values.values() if value is not None]
    return Estimate(
        n=len(known),
        mean=fmean(known) if known else None,
        deviation=stdev(known) if len(known) > 1 else None,
    )


def difference(ours: Values, theirs: Values, figure: Figure) -> Difference:
    """`ours` minus `theirs`, seed by seed."""
    steps = [
        _judged(a, figure) - _judged(b, figure)
        for seed, a in ours.items()
        if a is not None and (b := theirs.get(seed)) is not None
    ]
    n = len(steps)
    mean = fmean(steps) if steps else None
    error = stdev(steps) / math.sqrt(n) if n > 1 else None
    return Difference(n=n, mean=mean, error=error, verdict=_verdict(mean, error, figure))


def higher_is_better(figure: Figure) -> bool:
    return figure in ("auc", "gauc")


def chance(n: int) -> float:
    """How often `n` seeds call a difference where there is none: P(|t| > ERRORS), n - 1 degrees.

    Student's distribution, taking the differences as normal; by Simpson's rule, n at least 2.
    """
    freedom = n - 1
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)
    parts = 200
    points = [
        (1 + (ERRORS * i / parts) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(parts + 1)
    ]
    area = points[0] + points[-1] + 4 * sum(points[1:-1:2]) + 2 * sum(points[2:-1:2])
    return 1 - 2 * scale * area * ERRORS / parts / 3


def _judged(value: float, figure: Figure) -> float:
    return abs(value - 1) if figure == "calibration" else value


def _verdict(mean: float | None, error: float | None, figure: Figure) -> Verdict:
    if mean is None or error is None or abs(mean) <= ERRORS * error:
        return "no telling"
    return "better" if (mean > 0) == higher_is_better(figure) else "worse"
