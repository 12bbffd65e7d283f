"""Whether a model has learned anything: an AUC above chance by more than its error."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

ERRORS = 2.0
"""Standard errors above 0.5 from which on an AUC counts as above chance."""


def above_chance(auc: float, rows: int, positives: int) -> bool:
    """Whether labels that are independent of the predictions would hardly give this AUC.

    The error is that of the Mann-Whitney statistic without ties.
    """
    negatives = rows - positives
    if min(positives, negatives) <= 0:
        return False
    error = sqrt((rows + 1) / (12 * positives * negatives))
    return auc > 0.5 + ERRORS * error


def at_chance(results: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why a model with these results (as in results.json) has learned nothing; None if it has."""
    known = {task: row for task, row in results.items() if row.get("auc") is not None}
    if any(above_chance(row["auc"], row["rows"], row["positives"]) for row in known.values()):
        return None
    if not known:
        return "no task has an AUC"
    shown = ", ".join(f"{task} {row['auc']:.4f}" for task, row in known.items())
    return f"no task's AUC is above chance ({shown})"
