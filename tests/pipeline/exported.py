"""A run with every kind of feature, table and pooling, and rows to score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.api import Model, Recipe
from tests.pipeline.data.table.tables import FEATURES, LABELS, table

FRAME = table(1500)
ROWS = FRAME.to_arrow()
TASKS = ("click", "stayed", "teen")
TREE: dict[str, Any] = {
    "recipe": "debug",
    "data": {
        "source": {"path": "unused.parquet"},
        "split": {
            "by": "time",
            "column": "time",
            "val_from": "2026-05-12",
            "test_from": "2026-05-13",
        },
        "user": "user",
        "weight": "importance",
        "labels": LABELS,
    },
    "features": {
        **FEATURES,
        # A candidate for target attention over 'tags', of the same table.
        "best": {"type": "id", "group": "item", "column": "age", "table": "tag"},
    },
    "model": {"attention": {"events": {"tagged": {"tags": "best"}}, "hidden": 8}},
    "train": {"max_steps": 6, "batch_size": 128, "ema_decay": 0.5},
    "embeddings": {"dim": 8, "small_dim": 8},
}


def train(folder: Path, **fields: Any) -> Model:
    """Train on FRAME; returns the run."""
    return Recipe.from_yaml(json.dumps(TREE)).set(**fields).fit(FRAME, folder / "run")
