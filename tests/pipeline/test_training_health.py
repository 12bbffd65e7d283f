"""Norms of tasks' own experts, against the tower's parameters taken one by one."""

from __future__ import annotations

import pytest
import torch

from models.ple import PleConfig
from models.shared_bottom import SharedBottomConfig
from pipeline.training_health import own_norms
from tests.models.building import SMALL, TASKS, build, rows


def test_norms_are_those_of_all_levels_parameters() -> None:
    config = PleConfig.model_validate(SMALL | {"num_own_experts": 2, "normalisation": "layer"})
    tower = build(config)
    tower(rows(20)).square().sum().backward()
    found = own_norms(tower)
    assert set(found) == {task.name for task in TASKS}
    for task in TASKS:
        weights = gradients = 0.0
        for level in tower.levels:
            for e, name in enumerate(level.experts.names):
                if name.split(".")[1:3] == ["own", task.name]:
                    for parameter in level.experts.parameters():
                        assert parameter.grad is not None
                        weights += float(parameter[e].square().sum())
                        gradients += float(parameter.grad[e].square().sum())
        assert found[task.name]["weight_norm"] == pytest.approx(weights**0.5)
        assert found[task.name]["gradient_norm"] == pytest.approx(gradients**0.5)
        assert gradients > 0


def test_a_tower_without_own_experts_has_none() -> None:
    tower = build(SharedBottomConfig.model_validate(SMALL))
    tower(rows(5)).sum().backward()
    assert own_norms(tower) == {}


def test_gradients_are_not_touched() -> None:
    tower = build(PleConfig.model_validate(SMALL))
    tower(rows(20)).sum().backward()
    before = [
        parameter.grad.clone() for parameter in tower.parameters() if parameter.grad is not None
    ]
    own_norms(tower)
    after = [parameter.grad for parameter in tower.parameters() if parameter.grad is not None]
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))
