"""Towers of a cell: a function of the job, worse than the oracle, better with more rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.experiments.map.cell_file import read_cell, write_cell
from pipeline.experiments.map.design import Job, Training, design_map
from pipeline.experiments.map.dials import BASE
from pipeline.experiments.map.summary import score
from pipeline.experiments.map.train_cell import train_cell
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
    with pytest.raises(UserError, match="name home and at least one rival"):
        design_map("fast", ["mmoe", "ple"], None)
