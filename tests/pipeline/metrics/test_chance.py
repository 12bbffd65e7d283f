"""An AUC counts as above chance where labels drawn without a model would hardly give it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.metrics.chance import above_chance, at_chance


@pytest.mark.parametrize(("rows", "positives"), [(200, 100), (1_000, 30)])
def test_labels_without_a_model_are_hardly_ever_above(rows: int, positives: int) -> None:
    draw = np.random.default_rng(5)
    labels = np.arange(rows) < positives
    aucs = [roc_auc_score(labels, draw.random(rows)) for _ in range(400)]
    share = np.mean([above_chance(auc, rows, positives) for auc in aucs])
    assert 0.005 < share < 0.05  # one-sided, at two standard errors: 0.023


def row(auc: float | None, rows: int = 30_000, positives: int = 3_000) -> dict[str, Any]:
    return {"auc": auc, "rows": rows, "positives": positives}


def test_one_task_above_chance_is_enough() -> None:
    assert at_chance({"click": row(0.50), "like": row(0.52)}) is None
    assert at_chance({"click": row(0.5033), "like": row(None)}) == (
        "no task's AUC is above chance (click 0.5033)"
    )
    assert at_chance({"click": row(0.43)}) is not None
    assert at_chance({"click": row(0.7, rows=9, positives=4)}) is not None  # too few rows to tell
    assert at_chance({"like": row(None)}) == "no task has an AUC"
