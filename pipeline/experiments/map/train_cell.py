"""Trains all towers of a cell and seed side by side, and scores them against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.experiments.map.cell_file import VERSION, write_cell
from pipeline.experiments.map.design import Job, tower_config
from pipeline.experiments.map.learner import Learner
from pipeline.experiments.map.score import cross_entropy, entropy, expected_auc, regret
from pipeline.experiments.map.world import NUM_FEATURES, DenseWorld, Draw
from pipeline.expert_health.diagnosis import diagnose
from pipeline.io.json_types import Json

_EVALUATIONS = 8
_LEAST_VAL_ROWS = 2_048


def run_cell(out: Path, job: Job, stopped: Callable[[], bool]) -> bool:
    """Train a job and write its result; False if stopped before."""
    result = train_cell(job, stopped)
    if result is not None:
        write_cell(out, job, result)
    return result is not None


def train_cell(job: Job, stopped: Callable[[], bool] = lambda: False) -> Json | None:
    """Return the job's result, a function of the job alone; None if `stopped` says so meanwhile."""
    cell, training = job.cell, job.training
    world = DenseWorld(cell, job.seed)
    train, test = world.draw(cell.rows, "train"), world.draw(training.test_rows, "test")
    val = world.draw(max(_LEAST_VAL_ROWS, cell.rows // 4), "val")
    entropy_T = entropy(torch.tensor(cell.rates).double())
    steps = training.num_steps(cell.rows)
    learners = {
        name: [
            Learner(
                tower_config(name, cell.tasks), NUM_FEATURES, cell.task_list,
                seed=job.seed, learning_rate=rate, steps=steps,
            )
            for rate in training.learning_rates
        ]
        for name in job.towers
    }  # fmt: skip
    every = [learner for several in learners.values() for learner in several]
    weights_B1 = torch.ones(min(training.batch_size, cell.rows), 1)
    for step, batch_B in enumerate(
        batches(cell.rows, weights_B1.shape[0], steps, job.seed), start=1
    ):
        x_BF, labels_BT = train.x_NF[batch_B], train.labels_NT[batch_B]
        for learner in every:
            learner.step(x_BF, labels_BT, weights_B1)
        if step % max(1, steps // _EVALUATIONS) == 0 or step == steps:
            if stopped():
                return None
            for learner in every:
                loss_T = cross_entropy(learner.predict(val.x_NF), val.labels_NT)
                learner.keep_if_best((loss_T / entropy_T).mean().item())
    best = {name: min(tried, key=lambda one: one.best_loss) for name, tried in learners.items()}
    return _result(job, best, val, test, entropy_T)


def batches(rows: int, size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield the rows [B] of each step: random order, every pass another; whole batches only."""
    generator = torch.Generator().manual_seed(seed)
    left = steps
    while left:
        order_N = torch.randperm(rows, generator=generator)
        for i in range(min(left, rows // size)):
            yield order_N[i * size : (i + 1) * size]
        left -= min(left, rows // size)


def _result(
    job: Job, learners: Mapping[str, Learner], val: Draw, test: Draw, entropy_T: Tensor
) -> Json:
    truth_NT = test.logits_NT
    information_T = entropy_T - cross_entropy(truth_NT, truth_NT.sigmoid())
    rates = {task.name: rate for task, rate in zip(job.cell.task_list, job.cell.rates, strict=True)}
    return {
        "version": VERSION,
        "seed": job.seed,
        "measured_rate": test.labels_NT.mean(0).tolist(),
        "entropy": entropy_T.tolist(),
        "information": information_T.tolist(),
        "towers": {name: _scores(learner, val, test, rates) for name, learner in learners.items()},
    }


def _scores(
    learner: Learner, val: Draw, test: Draw, rates: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return the scores of a tower; None if it diverged, so that no evaluation was finite."""
    if not learner.best_step:
        return None
    learner.restore_best()
    logits_NT = learner.predict(test.x_NF)
    gap_T = expected_auc(test.logits_NT, test.logits_NT) - expected_auc(logits_NT, test.logits_NT)
    found = diagnose(learner.health(val.x_NF, rates))
    return {
        "learning_rate": learner.learning_rate,
        "step": learner.best_step,
        "val_regret": regret(learner.predict(val.x_NF), val.logits_NT).tolist(),
        "regret": regret(logits_NT, test.logits_NT).tolist(),
        "auc_gap": gap_T.tolist(),
        "findings": [
            {"kind": one.kind, "subject": one.subject, "text": one.text}
            for one in found
            if one.severity == "wrong"
        ],
    }
