"""Made studies: three towers, two tasks, known metrics."""

from __future__ import annotations

from typing import Any

from pipeline.experiments.study import build_study
from pipeline.io.json_types import Json

TOWERS = ("home", "mmoe*", "single_task", "home-no_self_gate")
TASKS = ("click", "</script><b>")
SEEDS = (0, 3, 5, 8)

# What a tower adds to a task's AUC, seed by seed on top of what the seed does to all.
GAINS = {
    "home": (0.02, 0.01),
    "mmoe*": (0.01, -0.02),
    "single_task": (0.0, 0.0),
    "home-no_self_gate": (0.015, 0.01),
}
_NOISE = {0: 0.001, 3: -0.001, 5: 0.001, 8: -0.001}


def metrics(auc: float | None, **changes: Any) -> Json:
    """One task's, as results.json has them."""
    made: Json = {
        "rows": 900,
        "positives": 90,
        "auc": auc,
        "gauc": None if auc is None else auc - 0.1,
        "gauc_users": 40,
        "gauc_left_out": 10,
        "ne": 0.9,
        "log_loss": 0.3,
        "calibration": 1.0,
    }
    return made | changes


def run(tower: str, seed: int, **changes: Any) -> Json:
    luck = 0.7 + seed / 1000
    noise = 0.0 if tower == "single_task" else _NOISE[seed]
    results = {
        task: metrics(luck + gain + noise) for task, gain in zip(TASKS, GAINS[tower], strict=True)
    }
    made: Json = {
        "tower": tower,
        "seed": seed,
        "folder": f"{tower.replace('*', '-star')}/seed-{seed}",
        "status": "done",
        "error": None,
        "step": 20,
        "seconds": 30.0,
        "samples_per_s": 4000,
        "val": results,
        "test": results,
        "findings": None,
    }
    return made | changes


def head(**changes: Any) -> Json:
    made: Json = {
        "version": 2,
        "recipe": "demo",
        "dataset": "synthetic",
        "data": "data/demo",
        "overrides": [],
        "select": "mean/auc",
        "match": None,
        "against": "single_task",
        "seeds": list(SEEDS),
        "split": "test",
        "tasks": list(TASKS),
        "towers": {
            name: {"folder": name, "parameters": 1_000 + i, "flops": 3_000_000 + i, "config": {}}
            for i, name in enumerate(TOWERS)
        },
    }
    return made | changes


def study(runs: list[Json] | None = None, **changes: Any) -> Json:
    every = [run(tower, seed) for seed in SEEDS for tower in TOWERS]
    return build_study(head(**changes), every if runs is None else runs)
