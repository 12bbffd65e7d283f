"""Configurations of towers name what is wrong with them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from models.towers.config import SmesConfig, TowerConfig
from tests.models.building import (
    CLICK,
)
from tests.models.towers.configurations import CONFIGS, KINDS


@pytest.mark.parametrize(
    "kind", ["home", "mmoe", "ple", "adatt", "smes", "rankmixer", "shared_bottom", "single_task"]
)
def test_configs_are_distinguished_by_kind(kind: str) -> None:
    config = TypeAdapter(TowerConfig).validate_python({"kind": kind, "expert_dim": 8})
    assert config.kind == kind
    assert TypeAdapter(TowerConfig).validate_json(config.model_dump_json()) == config
    for name, field in type(config).model_fields.items():
        assert field.description, f"{name} has no docstring"


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "home", "num_meta_experts": 0},
        {"kind": "home", "expert_dim": 0},
        {"kind": "home", "expert_hidden": [0]},
        {"kind": "home", "normalization": "group"},
        {"kind": "home", "dropout": 1.0},
        {"kind": "mmoe", "dropout": -0.1},
        {"kind": "ple", "dropout": float("nan")},
        {"kind": "home", "mask_rank": -1},
        {"kind": "home", "num_experts": 4},
        {"kind": "mmoe", "num_experts": 0},
        {"kind": "ple", "num_levels": 0},
        {"kind": "adatt", "num_task_specific_experts": 0},
        {"kind": "adatt", "num_shared_experts": -1},
        {"kind": "smes", "num_experts": 0},
        {"kind": "smes", "shared_top_k": -1},
        {"kind": "smes", "load_balancing_weight": -0.1},
        {"kind": "smes", "normalization": "batch"},
        {"kind": "rankmixer", "num_tokens": 0},
        {"kind": "rankmixer", "num_layers": 0},
        {"kind": "rankmixer", "normalization": "none"},
        {"kind": "shared_bottom", "num_experts": 2},
    ],
    ids=str,
)
def test_bad_config_names_its_field(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as error:
        TypeAdapter(TowerConfig).validate_python(fields)
    (problem,) = error.value.errors()
    assert [*fields][-1] in problem["loc"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_call_of_build_names_its_argument(kind: str) -> None:
    config = CONFIGS[kind]
    with pytest.raises(ValueError, match=r"tasks: .*empty"):
        config.build(num_features=3, tasks=[])
    with pytest.raises(ValueError, match="tasks: 'click' is listed twice"):
        config.build(num_features=3, tasks=[CLICK, CLICK])
    with pytest.raises(ValueError, match="num_features: 0"):
        config.build(num_features=0, tasks=[CLICK])


@pytest.mark.parametrize(("shared", "own"), [(0, 0), (3, 2), (5, 0)])
def test_smes_chooses_one_expert_to_all(shared: int, own: int) -> None:
    with pytest.raises(ValidationError, match=r"add up to .*; choose 1 to num_experts \(4\)"):
        SmesConfig(num_experts=4, shared_top_k=shared, task_top_k=own)
