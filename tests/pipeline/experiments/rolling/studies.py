"""A made rolling study: three towers, two tasks, one of which a tower knows better."""

from __future__ import annotations

import numpy as np

from pipeline.experiments.rolling.comparison import compare_towers
from pipeline.experiments.rolling.notes import notes
from pipeline.experiments.rolling.predictions import Predictions
from pipeline.io.json_types import Json

TOWERS = ("home", "mmoe*", "ple")
TASKS = ("click", "</script><b>")
ORIGINS = ("2022-05-03", "2022-05-04")
SEEDS = (0, 1)


def rolling_study() -> Json:
    """On the first task home is better than its rivals; on the second all towers are equal."""
    runs = [
        {
            "tower": tower,
            "origin": origin,
            "seed": seed,
            "folder": f"{tower.replace('*', '-star')}/{origin}/seed-{seed}",
            "status": "done",
            "error": None,
            "cpu_seconds": 30.0,
        }
        for seed in SEEDS
        for origin in ORIGINS
        for tower in TOWERS
    ]
    made: Json = {
        "version": 2,
        "protocol": "rolling",
        "options": {"towers": [*TOWERS], "seeds": [*SEEDS], "trials": 3, "tune_at": "first"},
        "recipe": "kuairand",
        "dataset": "kuairand",
        "data": {"kind": "kuairand", "raw": "raw", "early": None},
        "select": "mean/auc",
        "match": None,
        "subject": "home",
        "seeds": [*SEEDS],
        "tasks": [*TASKS],
        "origins": [
            {
                "origin": origin,
                "train_to": "2022-05-01",
                "val": "2022-05-02",
                "test": origin,
                "rows": {"train": 9000, "val": 400, "test": 400},
            }
            for origin in ORIGINS
        ],
        "search": ["dense.lr=0.0004:0.0036:log"],
        "towers": {
            tower: {"folder": tower, "parameters": 1_000 + i, "flops": 3_000_000 + i, "config": {}}
            for i, tower in enumerate(TOWERS)
        },
        "tuning": {
            tower: {
                ORIGINS[0]: {
                    "trials": 3,
                    "best": 1,
                    "value": 0.71,
                    "untuned": 0.7,
                    "params": {"dense.lr": 0.001},
                    "parameters": 500 + i,
                    "flops": 2_000_000 + i,
                }
            }
            for i, tower in enumerate(TOWERS)
        },
        "failed_trials": [],
        "runs": runs,
        "summary": compare_towers(made_predictions(), TASKS),
    }
    return {**made, "notes": notes(made)}


def made_predictions() -> dict[str, dict[tuple[str, int], Predictions]]:
    draw = np.random.default_rng(0)
    found: dict[str, dict[tuple[str, int], Predictions]] = {tower: {} for tower in TOWERS}
    for origin in ORIGINS:
        users = draw.integers(60, size=400)
        truth = draw.normal(size=(400, 2))
        labels = (draw.random((400, 2)) < 1 / (1 + np.exp(-2 * truth))).astype(np.int8)
        for tower in TOWERS:
            for seed in SEEDS:
                noise = draw.normal(size=(400, 2)) * [0.2 if tower == "home" else 3.0, 1.0]
                found[tower][origin, seed] = Predictions(
                    logits_NT=(truth + noise).astype(np.float32), labels_NT=labels, users_N=users
                )
    return found
