"""Differences between two towers: errors, p-values, intervals and power."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np

from pipeline.experiments.rolling.scored import Scored
from pipeline.io.json_types import Json
from pipeline.metrics.clustered import MIN_USERS, clustered_error
from pipeline.metrics.student import quantile, two_sided_p

Conclusion = Literal["better", "worse", "not significant", "too few users"]

LEVEL = 0.05
POWER = 0.8
EFFECT = 0.001
"""Difference for which the number of rows is given."""
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(1 - LEVEL / 2)
_Z_POWER = _Z + _NORMAL.inv_cdf(POWER)


def difference(one: Scored, tower: str, rival: str) -> Json:
    steps: dict[str, dict[int, float]] = {}
    for (origin, seed), value in one.value[tower].items():
        steps.setdefault(origin, {})[seed] = value - one.value[rival][origin, seed]
    mean = float(np.mean([step for found in steps.values() for step in found.values()]))
    return {
        "mean": mean,
        **(_errors(one, tower, rival, mean, list(steps.values())) or _NO_ERRORS),
        "by_origin": {origin: float(np.mean([*found.values()])) for origin, found in steps.items()},
    }


_NO_ERRORS: Json = dict.fromkeys(
    ("error", "error_users", "error_seeds", "freedom", "low", "high", "p")
)


def _errors(
    one: Scored, tower: str, rival: str, mean: float, steps: Sequence[Mapping[int, float]]
) -> Json | None:
    """Return errors, interval and p; None with too few users."""
    if one.counted < MIN_USERS:
        return None
    error_users = clustered_error(one.influence_U[tower] - one.influence_U[rival])
    error_seeds, num_seeds = _error_of_seeds(steps)
    error = math.hypot(error_users, error_seeds or 0.0)
    parts = ((error_users, one.counted - 1), (error_seeds or 0.0, num_seeds - 1))
    freedom = _freedom(error, parts)
    width = quantile(1 - LEVEL / 2, freedom) * error
    return {
        "error": error,
        "error_users": error_users,
        "error_seeds": error_seeds,
        "freedom": freedom,
        "low": mean - width,
        "high": mean + width,
        "p": two_sided_p(mean / error, freedom) if error > 0 else float(mean == 0),
    }


def _error_of_seeds(steps: Sequence[Mapping[int, float]]) -> tuple[float | None, int]:
    """Return the standard error of the mean over cells, and the number of seeds that it is from.

    It is from the origins that have every seed; None without one, or with one seed.
    """
    seeds = sorted(set().union(*steps))
    whole = [[found[seed] for seed in seeds] for found in steps if len(found) == len(seeds)]
    if len(seeds) < 2 or not whole:
        return None, 1
    deviation = float(np.std(np.mean(whole, axis=0), ddof=1))
    cells = [sum(seed in found for found in steps) for seed in seeds]
    return deviation * math.sqrt(sum(n * n for n in cells)) / sum(cells), len(seeds)


def _freedom(error: float, parts: Sequence[tuple[float, int]]) -> float:
    """Return Satterthwaite's degrees of freedom of a sum of variances."""
    if error == 0:
        return float(parts[0][1])
    return error**4 / sum(part**4 / freedom for part, freedom in parts if part > 0)


def correct(family: Sequence[Json]) -> None:
    """Add Holm's corrected p-value and the conclusion to each comparison."""
    known = [found for found in family if found["p"] is not None]
    for found in family:
        found |= {"p_corrected": None, "conclusion": "too few users"}
    for found, p in zip(known, holm([found["p"] for found in known]), strict=True):
        conclusion: Conclusion = "not significant"
        if p < LEVEL:
            conclusion = "better" if found["mean"] > 0 else "worse"
        found |= {"p_corrected": p, "conclusion": conclusion}


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979)."""
    corrected = [0.0] * len(p)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected


def power_of(one: Scored, found: Json) -> Json:
    """Return how many rows and users show a difference of EFFECT, at LEVEL and POWER and without
    correction, with so many seeds that their error is 0; and the smallest difference that this
    study shows, seeds included."""
    times = (_Z_POWER * found["error_users"] / EFFECT) ** 2
    return {
        "rows": math.ceil(one.rows * times),
        "users": math.ceil(one.users * times),
        "smallest": _smallest(found["error"], found["freedom"]),
    }


def _smallest(error: float, freedom: float) -> float:
    return error * (quantile(1 - LEVEL / 2, freedom) + quantile(POWER, freedom))
