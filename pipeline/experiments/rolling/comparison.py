"""Differences between towers over origins and seeds, with errors clustered by user.

A cell is an origin and a seed that every compared tower has finished. A tower's metric is the mean
over cells, and a difference that of two towers in the same cells. Its error has two parts:

- over users: the influence of a user on the mean difference, added up over cells, as a user is
  seen at several origins;
- over seeds: the deviation between seeds of their mean differences over origins, as what a seed
  does may be common to origins. It is unknown with one seed.

p-values and intervals are of Student's t with Satterthwaite's degrees of freedom (Biometrics 1946),
two-sided; p is corrected by Holm over the tasks, metrics and rivals of a tower. With few users at
an origin (MIN_USERS) there is no error and no conclusion.

Errors cover other users and seeds. They cover neither other days nor other trials: what tuning
would choose again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data.batch import NO_USER
from pipeline.experiments.rolling.predictions import MISSING, Predictions
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError
from pipeline.io.json_types import Json
from pipeline.metrics.clustered import CLUSTERED, MIN_USERS, clustered_error
from pipeline.metrics.student import quantile, two_sided_p

Conclusion = Literal["better", "worse", "not significant", "too few users"]
Floats = NDArray[np.floating[Any]]
Cell = tuple[str, int]
"""Name of the origin, seed."""

LEVEL = 0.05
POWER = 0.8
EFFECT = 0.001
"""Difference for which the number of rows is given."""
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(1 - LEVEL / 2)
_Z_POWER = _Z + _NORMAL.inv_cdf(POWER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A metric of one task for every tower."""

    value: Mapping[str, Mapping[Cell, float]]
    influence_U: Mapping[str, Floats]
    """Of each user on the tower's mean over cells."""
    rows: int
    """Test rows with a label at all origins."""
    users: int
    counted: int
    """Users that errors are estimated from, at the origin with the fewest."""

    @property
    def is_defined(self) -> bool:
        """Whether every tower has a value in every cell."""
        return all(math.isfinite(v) for values in self.value.values() for v in values.values())


def compare_towers(
    predictions: Mapping[str, Mapping[Cell, Predictions]], tasks: Sequence[str]
) -> Json:
    """Return {METRIC: {TASK: {rows, users, towers}}} with a row per tower: its mean, its mean by
    origin, the best rival, and the difference to each rival.

    A metric of a task that is undefined in a cell is None for every tower. Raises UserError if
    towers have different rows in a cell.
    """
    cells = sorted(set.intersection(*(set(one) for one in predictions.values())))
    if not cells:
        return {}
    _check_rows(predictions, cells)
    scored = {
        (metric, task): _scored(predictions, cells, metric, index)
        for metric in CLUSTERED
        for index, task in enumerate(tasks)
    }
    summary: Json = {metric: {} for metric in CLUSTERED}
    for tower in predictions:
        family = {
            (metric, task, rival): _difference(one, tower, rival)
            for (metric, task), one in scored.items()
            for rival in predictions
            if rival != tower and one.is_defined
        }
        _correct(list(family.values()))
        for (metric, task), one in scored.items():
            rivals = {
                rival: found
                for (of, on, rival), found in family.items()
                if (of, on) == (metric, task)
            }
            of_task = summary[metric].setdefault(task, {"rows": one.rows, "users": one.users})
            of_task.setdefault("towers", {})[tower] = _row(one, tower, rivals)
    return summary


def _row(one: Scored, tower: str, rivals: Json) -> Json:
    if not one.is_defined:
        return {"mean": None, "by_origin": {}, "best_rival": None, "rivals": {}, "power": None}
    values: dict[str, list[float]] = {}
    for (origin, _), value in one.value[tower].items():
        values.setdefault(origin, []).append(value)
    best = max(rivals, key=lambda rival: _mean(one, rival)) if rivals else None
    return {
        "mean": _mean(one, tower),
        "by_origin": {origin: float(np.mean(found)) for origin, found in values.items()},
        "best_rival": best,
        "rivals": rivals,
        "power": None
        if best is None or rivals[best]["error"] is None
        else _power(one, rivals[best]),
    }


def _power(one: Scored, found: Json) -> Json:
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


def _scored(
    predictions: Mapping[str, Mapping[Cell, Predictions]],
    cells: Sequence[Cell],
    metric: str,
    task: int,
) -> Scored:
    first = next(iter(predictions.values()))
    kept, groups = {}, {}
    for cell in cells:
        origin = cell[0]
        if origin not in kept:
            kept[origin] = _kept(first[cell], metric, task)
            groups[origin] = first[cell].users_N[kept[origin]]
    clusters, of_rows = np.unique(
        _own_user_of_rows_without(np.concatenate(list(groups.values()))), return_inverse=True
    )
    ends = np.cumsum([len(one) for one in groups.values()])
    users = dict(zip(groups, np.split(of_rows, ends[:-1]), strict=True))
    value: dict[str, dict[Cell, float]] = {}
    influence: dict[str, Floats] = {}
    counted = len(clusters)
    for tower, of_cell in predictions.items():
        value[tower], influence[tower] = {}, np.zeros(len(clusters))
        for cell in cells:
            keep_N, one = kept[cell[0]], of_cell[cell]
            scores_N = one.logits_NT[keep_N, task]
            if np.isnan(scores_N).any():  # a diverged model
                value[tower][cell] = math.nan
                continue
            found = CLUSTERED[metric](
                scores_N,
                one.labels_NT[keep_N, task],
                users[cell[0]],
                len(clusters),
            )
            value[tower][cell] = found.value
            counted = min(counted, found.counted)
            influence[tower] += found.influence_U / len(cells)
    rows = int(sum(len(one) for one in groups.values()))
    return Scored(
        value=value, influence_U=influence, rows=rows, users=len(clusters), counted=counted
    )


def _kept(one: Predictions, metric: str, task: int) -> NDArray[np.bool_]:
    """Rows with a label; for GAUC also with a user."""
    known_N = one.labels_NT[:, task] != MISSING
    return known_N & (one.users_N != NO_USER) if metric == "gauc" else known_N


def _own_user_of_rows_without(users_N: IntArray) -> IntArray:
    """Give each row without a user one of its own, below 0."""
    none_N = users_N == NO_USER
    return np.where(none_N, -np.cumsum(none_N), users_N)


def _mean(one: Scored, tower: str) -> float:
    return float(np.mean(list(one.value[tower].values())))


def _difference(one: Scored, tower: str, rival: str) -> Json:
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


def _correct(family: Sequence[Json]) -> None:
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


def _check_rows(
    predictions: Mapping[str, Mapping[Cell, Predictions]], cells: Sequence[Cell]
) -> None:
    first: dict[str, Predictions] = {}
    for tower, of_cell in predictions.items():
        for cell in cells:
            if not of_cell[cell].same_rows(first.setdefault(cell[0], of_cell[cell])):
                raise UserError(
                    f"predictions of {tower}, origin {cell[0]}, seed {cell[1]}: other test rows "
                    "than those of other towers; remove the folder of this run, and --resume"
                )
