"""Towers of a cell: a function of the job, worse than the oracle, better with more rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.losses import task_losses
from models.tower import auxiliary_loss
from pipeline.experiments.map.cell_file import read_cell, write_cell
from pipeline.experiments.map.design import Job, Training, design_map, tower_config
from pipeline.experiments.map.dials import BASE
from pipeline.experiments.map.learner import Learner
from pipeline.experiments.map.summary import score
from pipeline.experiments.map.train_cell import train_cell
from pipeline.experiments.map.world import NUM_FEATURES
from pipeline.io.errors import UserError
from tests.pipeline.experiments.map.plans import TINY, result

_JOB = next(iter(TINY.jobs))


def test_a_result_is_a_function_of_the_job() -> None:
    assert train_cell(_JOB) == result(_JOB)


def test_a_stopped_job_has_no_result() -> None:
    assert train_cell(_JOB, stopped=lambda: True) is None


def test_no_tower_beats_the_oracle() -> None:
    for job in TINY.jobs:
        for tower in result(job)["towers"].values():
            assert min(tower["regret"] + tower["auc_gap"]) > 0


def test_towers_learn() -> None:
    training = Training(learning_rates=(1e-2,), batch_size=128, least_steps=100, test_rows=4_096)
    cell = replace(BASE, tasks=2, ratio=1.0, rows=12_800, nonlinear=0.0)
    found = train_cell(Job(cell, 0, ("home", "single_task"), training))
    assert found is not None
    information = 100 * sum(found["information"]) / sum(found["entropy"])
    for tower in found["towers"]:
        assert score(found, tower) < information / 4


def test_results_are_read_back(tmp_path: Path) -> None:
    assert read_cell(tmp_path, _JOB) is None
    write_cell(tmp_path, _JOB, result(_JOB))
    assert read_cell(tmp_path, _JOB) == result(_JOB)


def test_a_damaged_result_is_one_line(tmp_path: Path) -> None:
    write_cell(tmp_path, _JOB, result(_JOB) | {"entropy": [0.5]})
    with pytest.raises(UserError, match=r"seed-0\.json: .*different numbers of tasks; remove it"):
        read_cell(tmp_path, _JOB)
    write_cell(tmp_path, _JOB, result(_JOB) | {"seed": 7})
    with pytest.raises(UserError, match="not the towers, tasks or seed of this map"):
        read_cell(tmp_path, _JOB)


def test_unknown_towers_are_refused() -> None:
    with pytest.raises(UserError, match="unknown tower 'hone'; did you mean 'home'"):
        design_map("fast", ["hone", "mmoe"], None)


@pytest.mark.parametrize("towers", [["mmoe", "ple"], ["home"], ["home", "home-no_self_gate"]])
def test_a_map_needs_home_and_a_rival(towers: list[str]) -> None:
    with pytest.raises(UserError, match="name home and at least one rival"):
        design_map("fast", towers, None)


def test_a_step_trains_the_towers_own_loss() -> None:
    config = tower_config("smes", 2)
    tasks = _JOB.cell.task_list
    random = torch.Generator().manual_seed(0)
    x_BF = torch.randn(64, NUM_FEATURES, generator=random)
    labels_BT = (torch.rand(64, len(tasks), generator=random) < 0.3).float()
    learner = Learner(config, NUM_FEATURES, tasks, seed=0, learning_rate=0.0, steps=2)
    learner.step(x_BF, labels_BT, torch.ones(64, 1))
    stepped = [weight.grad for weight in learner.tower.parameters()]
    loss = task_losses(learner.tower(x_BF), labels_BT, torch.ones(64, 1)).sum()
    own = auxiliary_loss(learner.tower)
    assert own is not None
    weights = list(learner.tower.parameters())
    assert any(g is not None and g.any() for g in _gradients(own, weights))
    torch.testing.assert_close(stepped, _gradients(loss + own, weights))


def _gradients(loss: Tensor, weights: list[nn.Parameter]) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True))


def test_a_tower_that_diverges_has_no_scores(tmp_path: Path) -> None:
    job = replace(_JOB, training=replace(_JOB.training, learning_rates=(1e30,)))
    found = train_cell(job)
    assert found is not None
    assert found["towers"] == {"home": None, "mmoe": None}
    write_cell(tmp_path, job, found)
    assert read_cell(tmp_path, job) == found
