"""Norms of task-specific experts, against the tower's parameters taken one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from models.probe import probing
from models.towers.config import PleConfig, SharedBottomConfig
from models.towers.level import Level
from models.towers.ple import PLE
from pipeline.expert_health.health import ExpertHealth
from pipeline.expert_health.probes import ExpertProbe, Norms, task_specific_norms
from tests.models.building import SMALL, TASKS, build, rows
from tests.ranks import run_ranks


def test_norms_are_those_of_all_levels_parameters() -> None:
    config = PleConfig.model_validate(
        SMALL | {"num_task_specific_experts": 2, "normalization": "layer"}
    )
    tower = build(config)
    assert isinstance(tower, PLE)
    tower(rows(20)).square().sum().backward()
    found = task_specific_norms(tower)
    assert set(found) == {task.name for task in TASKS}
    for task in TASKS:
        weights = gradients = 0.0
        for level in tower.levels:
            assert isinstance(level, Level)
            for e, name in enumerate(level.experts.names):
                if name.split(".")[1:3] == ["task_specific", task.name]:
                    for parameter in level.experts.parameters():
                        assert parameter.grad is not None
                        weights += float(parameter[e].detach().square().sum())
                        gradients += float(parameter.grad[e].square().sum())
        assert found[task.name]["weight_norm"] == pytest.approx(weights**0.5)
        assert found[task.name]["gradient_norm"] == pytest.approx(gradients**0.5)
        assert gradients > 0


def test_a_tower_without_task_specific_experts_has_none() -> None:
    tower = build(SharedBottomConfig.model_validate(SMALL))
    tower(rows(5)).sum().backward()
    assert task_specific_norms(tower) == {}


def test_gradients_are_not_touched() -> None:
    tower = build(PleConfig.model_validate(SMALL))
    tower(rows(20)).sum().backward()
    before = [
        parameter.grad.clone() for parameter in tower.parameters() if parameter.grad is not None
    ]
    task_specific_norms(tower)
    after = [parameter.grad for parameter in tower.parameters() if parameter.grad is not None]
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))


def test_a_norm_that_is_not_finite_is_unknown() -> None:
    """In one probe, it makes the mean unknown, and the checkpoint stays plain JSON."""
    norms: Norms = {"click": {"weight_norm": 2.0, "gradient_norm": None}}
    other: Norms = {"click": {"weight_norm": 4.0, "gradient_norm": 1.0}}
    tower: Any = None
    both = [norms, other]
    json.dumps(both, allow_nan=False)
    health: dict[str, Any] = {"tasks": {}}
    ExpertProbe(tower, tower, {"click": 0.5}, 1, both).after_evaluation(1, {}, health)
    expected = {"positive_rate": 0.5, "weight_norm": 3.0, "gradient_norm": None}
    assert health["tasks"]["click"] == expected


def looked_at(rank: int, size: int) -> tuple[Any, Any]:
    """A rank's share of 40 rows through a tower under DDP: health, and norms after backward."""
    tower, adder = build(PleConfig.model_validate(SMALL)), ExpertHealth()
    parallel = DistributedDataParallel(tower)  # must outlive backward, in which it averages
    with probing(tower) as probe:
        parallel(rows(40).chunk(size)[rank]).square().mean().backward()
    adder.update(probe)
    return adder.compute(), task_specific_norms(tower)


def test_two_ranks_see_what_one_sees() -> None:
    """Outputs, gates and gradients are those of the global batch."""
    ((alone, alone_norms),) = run_ranks(looked_at, 1)
    for health, norms in run_ranks(looked_at, 2):
        assert health["experts"].keys() == alone["experts"].keys() != set()
        for part in ("experts", "gates", "shared", "tasks"):
            for name, metrics in alone[part].items():
                assert health[part][name] == pytest.approx(metrics), name
        for task, metrics in alone_norms.items():
            assert norms[task] == pytest.approx(metrics), task
            assert metrics["gradient_norm"] > 0
