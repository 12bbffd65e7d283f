"""Each anomaly is named with value and limit; a sound tower gets a list of what was checked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.probe import probing
from models.towers.config import (
    AdattConfig,
    HomeConfig,
    MmoeConfig,
    PleConfig,
    SharedBottomConfig,
    SingleTaskConfig,
    SmesConfig,
    TowerConfig,
)
from pipeline.expert_health.diagnosis import Finding, diagnose
from pipeline.expert_health.expert_use import add_use
from pipeline.expert_health.health import ExpertHealth
from tests.models.building import build, rows

# At a handful of units first weights alone can make an expert ten times as loud as another.
WIDE = {"expert_hidden": (32,), "expert_dim": 32, "tower_hidden": (4,)}
SOUND = {"mean": 0.2, "deviation": 0.5, "row_deviation": 0.5, "zero_fraction": 0.4}
EVEN = {"level2.global.0": 0.4, "level2.global.1": 0.4}


def health(**experts: dict[str, float]) -> dict[str, Any]:
    """Two global experts, one for each of three tasks; `experts` changes metrics."""
    tasks = ("click", "finish", "like")
    specific = [f"level2.task_specific.{task}.0" for task in tasks]
    return add_use(
        {
            "experts": {name: SOUND | experts.get(name, {}) for name in (*EVEN, *specific)},
            "gates": {task: EVEN | {name: 0.2} for task, name in zip(tasks, specific, strict=True)},
            "self_gates": {},
            "meta_gates": {},
            "meta_self_gates": {},
        }
    )


def wrong(metrics: dict[str, Any]) -> list[Finding]:
    return [finding for finding in diagnose(metrics) if finding.severity == "wrong"]


def test_a_sound_tower_gets_a_list_of_what_was_checked() -> None:
    found = diagnose(health())
    assert [(v.kind, v.severity) for v in found] == [
        ("collapse", "healthy"),
        ("degradation", "healthy"),
        ("underfitting", "healthy"),
    ]
    assert "5 experts: none dead, at most 40%" in found[0].text
    assert "2 shared experts: at most 33%" in found[1].text
    assert "3 tasks: each gives its task-specific experts at least 0.6 times" in found[2].text


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({"zero_fraction": 0.931}, "level2.global.1: 93% of outputs are zero (limit 90%)"),
        ({"row_deviation": 1e-7}, "level2.global.1: dead, its output is the same for every row"),
        ({"deviation": 0.04}, "level2.global.1: its outputs spread 12 times less than those of "),
        ({"deviation": 7.0}, "level2.global.1: its outputs spread 14 times more than those of "),
        ({"mean": None}, "level2.global.1: its outputs are not finite"),
    ],
)
def test_collapse(metrics: dict[str, Any], text: str) -> None:
    (finding,) = wrong(health(**{"level2.global.1": metrics}))
    assert (finding.kind, finding.subject) == ("collapse", "level2.global.1")
    assert finding.text.startswith(text)


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (0.0, "level2.global.1: dead, no row runs it (limit 0.1%)"),
        (0.0004, "level2.global.1: dead, 0.04% of rows run it (limit 0.1%)"),
    ],
)
def test_an_expert_that_rows_do_not_run(load: float, text: str) -> None:
    metrics = health(**{"level2.global.1": {"load": load}})
    if not load:  # then nothing is known of its outputs
        metrics["experts"]["level2.global.1"] |= dict.fromkeys(SOUND)
    (finding,) = wrong(metrics)
    assert (finding.kind, finding.text) == ("collapse", text)


def test_a_sound_load_is_listed() -> None:
    loads = zip(health()["experts"], (0.25, 1.0, 0.5, 0.5, 0.5), strict=True)
    found = diagnose(health(**{name: {"load": load} for name, load in loads}))
    assert found[0].severity == "healthy"
    assert "a row runs 2.8 of them, each of them runs for 25% to 100% of rows" in found[0].text


def test_degradation() -> None:
    metrics = health()
    for task in ("finish", "like"):
        metrics["gates"][task]["level2.global.0"] = 0.006
    (finding,) = wrong(metrics)
    assert (finding.kind, finding.subject) == ("degradation", "level2.global.0")
    assert finding.text == (
        "level2.global.0: 97% of its gate weight comes from click: shared in name only (limit 90%)"
    )


@pytest.mark.parametrize("weight", [0.01, 0.0])
def test_an_expert_that_no_task_uses(weight: float) -> None:
    metrics = health()
    for seen in metrics["gates"].values():
        seen["level2.global.0"] = weight
    (finding,) = wrong(metrics)
    assert finding.text.startswith("level2.global.0: idle, no gate gives it more than")


def test_the_level_1_gate_for_all_tasks_is_no_single_user() -> None:
    metrics = health()
    metrics["experts"] |= {"meta.shared.0": SOUND, "meta.watch.0": SOUND}
    metrics["meta_gates"] = {
        "shared": {"meta.shared.0": 0.99, "meta.watch.0": 0.01},
        "watch": {"meta.shared.0": 0.01, "meta.watch.0": 0.99},
    }
    assert wrong(add_use(metrics)) == []
    metrics["meta_gates"] |= {"interact": {"meta.shared.0": 0.01}}
    metrics["meta_gates"]["shared"]["meta.shared.0"] = 0.01
    metrics["meta_gates"]["watch"]["meta.shared.0"] = 0.99
    (finding,) = wrong(add_use(metrics))
    assert finding.text.startswith("meta.shared.0: 98% of its gate weight comes from watch")


def test_underfitting() -> None:
    metrics = health()
    metrics["tasks"]["like"] = {
        "positive_rate": 0.014,
        "task_specific_weight": 0.02,
        "weight_norm": 8.1,
        "gradient_norm": 1e-5,
    }
    metrics["tasks"]["click"] |= {"positive_rate": 0.4, "weight_norm": 8.0, "gradient_norm": 0.0}
    click, like = wrong(metrics)
    assert (like.kind, like.subject) == ("underfitting", "like")
    assert like.text == (
        "like: gate weight 0.02 on its task-specific experts; an even gate gives 0.33 "
        "(limit 0.2 of that); "
        "1.40% of its rows are positive, gradient norm 1e-05 at a weight norm of 8.1"
    )
    assert click.text.startswith(
        "click: no gradient reaches its task-specific experts; 40.00% of its rows"
    )


def two_levels() -> dict[str, Any]:
    """PLE's gates of level 1, too: two tasks, and what all of level 2 reads."""
    tasks = ("click", "like")
    specific = {task: f"task_specific.{task}.0" for task in tasks}
    seen = {
        level: {
            task: {f"{level}.shared.0": 0.6, f"{level}.{specific[task]}": 0.4} for task in tasks
        }
        for level in ("level1", "level2")
    }
    lower = {f"level1.{task}": gate for task, gate in seen["level1"].items()}
    everything = [expert for gates in seen.values() for gate in gates.values() for expert in gate]
    lower["level1.shared"] = dict.fromkeys([e for e in everything if "level1" in e], 1 / 3)
    return {
        "experts": dict.fromkeys(everything, SOUND),
        "gates": seen["level2"],
        "self_gates": {},
        "meta_gates": lower,
        "meta_self_gates": {},
    }


def test_every_level_is_judged() -> None:
    metrics = two_levels()
    found = diagnose(add_use(metrics))
    assert {finding.severity for finding in found} == {"healthy"}
    assert "not under a probed gate" not in found[0].text
    assert "2 shared experts: " in found[1].text
    assert "2 tasks: each gives its task-specific experts at least 0.8 times" in found[2].text
    metrics["meta_gates"]["level1.like"]["level1.task_specific.like.0"] = 0.01
    (finding,) = wrong(add_use(metrics))
    assert (finding.kind, finding.subject) == ("underfitting", "like")
    assert finding.text.startswith(
        "like: gate weight 0.01 on its task-specific experts of level1; an even gate gives 0.5"
    )
    metrics["meta_self_gates"] = {"level1.like": {"level1.task_specific.like.0": 0.5}}
    assert wrong(add_use(metrics)) == []


def test_shared_experts_of_every_level_are_judged() -> None:
    metrics = two_levels()
    for gate in ("level1.like", "level1.shared"):
        metrics["meta_gates"][gate]["level1.shared.0"] = 0.01
    (finding,) = wrong(add_use(metrics))
    assert finding.text.startswith(
        "level1.shared.0: 97% of its gate weight comes from level1.click"
    )
    metrics["meta_gates"]["level1.shared"]["level1.shared.0"] = 0.5
    metrics["meta_gates"]["level1.click"]["level1.shared.0"] = 0.01
    assert wrong(add_use(metrics)) == []  # what that gate mixes serves all tasks
    metrics["meta_gates"]["level1.shared"]["level1.shared.0"] = 0.01
    (finding,) = wrong(add_use(metrics))
    assert finding.text.startswith("level1.shared.0: idle, no gate gives it more than 1.00%")


def test_a_self_gate_makes_up_for_the_mixing_gate() -> None:
    metrics = health()
    metrics["gates"]["like"]["level2.task_specific.like.0"] = 0.02
    assert [v.subject for v in wrong(add_use(metrics))] == ["like"]
    metrics["self_gates"] = {"like": {"level2.task_specific.like.0": 0.5}}
    assert wrong(add_use(metrics)) == []


@pytest.mark.parametrize(
    ("config", "unchecked"),
    [
        (HomeConfig.model_validate(WIDE), set()),
        (HomeConfig.model_validate(WIDE | {"hierarchy_mask": False}), set()),
        (PleConfig.model_validate(WIDE), set()),
        (PleConfig.model_validate(WIDE | {"num_levels": 3}), set()),
        (AdattConfig.model_validate(WIDE), set()),
        (MmoeConfig.model_validate(WIDE), {"underfitting"}),
        (SmesConfig.model_validate(WIDE), {"underfitting"}),
        (SharedBottomConfig.model_validate(WIDE), {"degradation", "underfitting"}),
        (SingleTaskConfig.model_validate(WIDE), {"degradation", "underfitting"}),
    ],
)
def test_every_tower_gets_a_finding_of_each_kind(config: TowerConfig, unchecked: set[str]) -> None:
    with torch.no_grad():
        tower = build(config)
        with probing(tower) as probe:
            tower(rows(200))
    adder = ExpertHealth()
    adder.update(probe)
    found = diagnose(adder.compute())
    assert {finding.kind for finding in found} == {"collapse", "degradation", "underfitting"}
    assert {finding.kind for finding in found if finding.severity == "unchecked"} == unchecked
    assert not [finding for finding in found if finding.severity == "wrong"]


def test_a_tower_without_experts_is_unchecked() -> None:
    assert {finding.severity for finding in diagnose(ExpertHealth().compute())} == {"unchecked"}
