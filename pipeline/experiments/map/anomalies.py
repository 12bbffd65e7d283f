"""Anomalies on demand: a world in which MMoE and CGC collapse, degrade and underfit, next to HoME
and its ablations.

The inputs are as raw logs have them: a third of the columns is far from 0 and spread widely, as
counters and durations are before anybody normalizes them. ReLU experts and softmax gates saturate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.experiments.map.anomaly_file import anomaly_path
from pipeline.experiments.map.design import tower_config
from pipeline.experiments.map.dials import Dials
from pipeline.experiments.map.learner import Learner
from pipeline.experiments.map.train_cell import batches
from pipeline.experiments.map.world import NUM_FEATURES, DenseWorld
from pipeline.expert_health.diagnosis import diagnose
from pipeline.expert_health.expert_use import shared_weights, task_specific_weights
from pipeline.io.files import write_json
from pipeline.io.json_types import Json

DIALS = Dials(tasks=4, ratio=100.0, conflict=-1.0, shared=0.9, signal=3.0, rows=16_384)
TOWERS = (
    "mmoe",
    "cgc",
    "home",
    "home-no_normalization",
    "home-no_hierarchy_mask",
    "home-no_feature_gates",
    "home-no_self_gate",
)
SEEDS = 5
_RAW_COLUMNS = 4
_RAW_SIZE = 20.0
"""Mean and standard deviation of the raw columns; the others have 0 and 1."""
_LEARNING_RATE = 3e-2
_BATCH_SIZE = 256
_PROBE_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class AnomalyJob:
    """A seed: all towers, side by side."""

    seed: int
    steps: int = 300

    @property
    def path(self) -> str:
        """Path of the result in the folder."""
        return anomaly_path(self.seed)


def raw(x_NF: Tensor) -> Tensor:
    """Return inputs whose first columns have mean and standard deviation 20."""
    x_NF = x_NF.clone()
    x_NF[:, :_RAW_COLUMNS] = _RAW_SIZE * (1 + x_NF[:, :_RAW_COLUMNS])
    return x_NF


def run_anomaly(out: Path, job: AnomalyJob, stopped: Callable[[], bool]) -> bool:
    """Train the towers of a seed and write their health; False if stopped before."""
    world = DenseWorld(DIALS, job.seed)
    train, probe = world.draw(DIALS.rows, "train"), world.draw(_PROBE_ROWS, "val")
    x_NF, tasks = raw(train.x_NF), DIALS.task_list
    learners = {
        name: Learner(
            tower_config(name, DIALS.tasks), NUM_FEATURES, tasks,
            seed=job.seed, learning_rate=_LEARNING_RATE, steps=job.steps,
        )
        for name in TOWERS
    }  # fmt: skip
    weights_B1 = torch.ones(_BATCH_SIZE, 1)
    for batch_B in batches(DIALS.rows, _BATCH_SIZE, job.steps, job.seed):
        if stopped():
            return False
        for learner in learners.values():
            learner.step(x_NF[batch_B], train.labels_NT[batch_B], weights_B1)
    rates = {task.name: rate for task, rate in zip(tasks, DIALS.rates, strict=True)}
    towers = {
        name: _summary(learner.health(raw(probe.x_NF), rates)) for name, learner in learners.items()
    }
    (out / job.path).parent.mkdir(parents=True, exist_ok=True)
    write_json(out / job.path, {"version": 1, "seed": job.seed, "towers": towers})
    return True


def _summary(health: Json) -> Json:
    return {
        "zeros": max(expert["zero_fraction"] for expert in health["experts"].values()),
        "one_task": _one_task(health),
        "specific": _specific(health),
        "findings": [
            {"kind": one.kind, "subject": one.subject, "text": one.text}
            for one in diagnose(health)
            if one.severity == "wrong"
        ],
    }


def _one_task(health: Json) -> float | None:
    """Return the largest share of one task in the gate weight of a last-level shared expert."""
    shares = [
        max(known) / sum(known)
        for expert, weights in shared_weights(health).items()
        if not expert.startswith("meta.")
        if sum(known := [weight or 0.0 for weight in weights.values()]) > 0
    ]
    return max(shares, default=None)


def _specific(health: Json) -> float | None:
    """Return the smallest weight of a task's own experts, relative to an even gate's."""
    found = [
        weight / even
        for task in health["tasks"]
        for _, weight, even in task_specific_weights(health, task)
    ]
    return min(found, default=None)
