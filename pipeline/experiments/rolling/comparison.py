"""Differences between towers over origins and seeds, with errors clustered by user.

A cell is an origin and a seed that every compared tower has finished. A tower's metric is the mean
over cells, and a difference that of two towers in the same cells. Its error has two parts:

- over users: the influence of a user on the mean difference, added up over cells, as a user is
  seen at several origins;
- over seeds: the deviation between seeds of their mean differences over origins, as what a seed
  does may be common to origins. It is unknown with one seed.

p-values and intervals are of Student's t with Satterthwaite's degrees of freedom (Biometrics 1946),
two-sided. With few users at an origin (MIN_USERS) there is no error and no conclusion.

p is corrected by Holm in families, one for each tower and metric: the tower against each rival on
each task. Rivals share a family because the best one is chosen after the tests; metrics do not,
because each asks another question of the same scores.

A metric of a task leaves out origins whose labels do not define it, and towers with a score that is
not a number; both are named in `left_out`. Towers without a finished run are not compared.

Errors cover other users and seeds. They cover neither other days nor other trials: what tuning
would choose again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.experiments.rolling.differences import correct, difference, power_of
from pipeline.experiments.rolling.predictions import Predictions
from pipeline.experiments.rolling.scored import Cell, Scored, score
from pipeline.io.errors import UserError
from pipeline.io.json_types import Json
from pipeline.metrics.clustered import CLUSTERED


def compare_towers(
    predictions: Mapping[str, Mapping[Cell, Predictions]], tasks: Sequence[str]
) -> Json:
    """Return {METRIC: {TASK: {rows, users, left_out, towers}}} with a row per tower: its mean, its
    mean by origin, the best rival, and the difference to each rival.

    A mean is None for a tower that is left out. Raises UserError if towers have different rows in a
    cell.
    """
    finished = {tower: of_cell for tower, of_cell in predictions.items() if of_cell}
    cells = sorted(set.intersection(*map(set, finished.values()))) if len(finished) > 1 else []
    if not cells:
        return {}
    _check_rows(finished, cells)
    scored = {
        (metric, task): score(finished, cells, metric, index)
        for metric in CLUSTERED
        for index, task in enumerate(tasks)
    }
    summary: Json = {metric: {} for metric in CLUSTERED}
    for (metric, task), one in scored.items():
        summary[metric][task] = {
            "rows": one.rows,
            "users": one.users,
            "left_out": {"origins": list(one.undefined), "towers": list(one.diverged)},
            "towers": {},
        }
    for metric in CLUSTERED:
        for tower in predictions:
            rivals = {task: _rivals(scored[metric, task], tower) for task in tasks}
            correct([found for by_rival in rivals.values() for found in by_rival.values()])
            for task in tasks:
                row = _row(scored[metric, task], tower, rivals[task])
                summary[metric][task]["towers"][tower] = row
    return summary


def _rivals(one: Scored, tower: str) -> dict[str, Json]:
    """Return the difference to each rival; none for a tower that is left out."""
    if tower not in one.value:
        return {}
    return {rival: difference(one, tower, rival) for rival in one.value if rival != tower}


def _row(one: Scored, tower: str, rivals: Json) -> Json:
    if tower not in one.value:
        return {"mean": None, "by_origin": {}, "best_rival": None, "rivals": {}, "power": None}
    values: dict[str, list[float]] = {}
    for (origin, _), value in one.value[tower].items():
        values.setdefault(origin, []).append(value)
    best = max(rivals, key=one.mean) if rivals else None
    found = None if best is None else rivals[best]
    return {
        "mean": one.mean(tower),
        "by_origin": {origin: float(np.mean(own)) for origin, own in values.items()},
        "best_rival": best,
        "rivals": rivals,
        "power": power_of(one, found) if found and found["error"] is not None else None,
    }


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
