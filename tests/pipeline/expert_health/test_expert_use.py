"""Who uses which expert, against sums done by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipeline.expert_health.expert_use import (
    add_use,
    entropy,
    even_weight,
    lower_levels,
    shared_weights,
    task_of_expert,
    task_specific_weight,
)


def health(**parts: Any) -> dict[str, Any]:
    kinds = ("experts", "gates", "self_gates", "meta_gates", "meta_self_gates")
    return {kind: parts.get(kind, {}) for kind in kinds}


@pytest.mark.parametrize(
    ("expert", "task"),
    [
        ("level2.task_specific.click.0", "click"),
        ("level10.task_specific.long.view 2.11", "long.view 2"),
        ("task_specific.own.0.1", "own.0"),
        ("level2.shared.0", None),
        ("level2.category.task_specific.click.0", None),
        ("meta.task_specific.click.0", None),
        ("expert.3", None),
        ("bottom.0", None),
    ],
)
def test_names_say_whose_an_expert_is(expert: str, task: str | None) -> None:
    assert task_of_expert(expert) == task


def test_entropy_is_that_of_the_shares() -> None:
    assert entropy([0.3, 0.3, 0.3]) == pytest.approx(1)
    assert entropy([0.4, 0.0]) == 0
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3)
    assert entropy([0.6, 0.2, 0.0]) == pytest.approx(expected)
    assert entropy([0.0, 0.0]) is None
    assert entropy([0.5, None]) is None


def test_what_is_shared_and_what_is_task_specific() -> None:
    """HoME's names; as in AdaTT, a gate may see another task's specific experts."""
    click = {
        "level2.global.0": 0.5,
        "level2.task_specific.click.0": 0.25,
        "level2.task_specific.like.0": 0.25,
    }
    like = {
        "level2.global.0": 0.1,
        "level2.task_specific.click.0": 0.6,
        "level2.task_specific.like.0": 0.3,
    }
    use = health(
        experts=dict.fromkeys([*click, "meta.shared.0", "meta.watch.0"]),
        gates={"click": click, "like": like | {"level2.category.interact.0": 0.1}},
        self_gates={"click": {"level2.task_specific.click.0": 0.5}},
        meta_gates={
            "shared": {"meta.shared.0": 0.5, "meta.watch.0": 0.5},
            "watch": {"meta.shared.0": 0.5, "meta.watch.0": 0.5},
        },
    )
    assert shared_weights(use) == {
        "level2.global.0": {"click": 0.5, "like": 0.1},
        "meta.shared.0": {"shared": 0.5, "watch": 0.5},
    }
    assert task_specific_weight(use, "click") == pytest.approx(0.75)
    added = add_use(use)
    assert added["tasks"] == {
        "click": {"task_specific_weight": 0.75},
        "like": {"task_specific_weight": 0.3},
    }
    assert added["shared"]["meta.shared.0"]["entropy"] == pytest.approx(1)
    assert added["shared"]["level2.global.0"]["entropy"] == entropy([0.5, 0.1])


def test_what_is_shared_and_task_specific_before_the_last_level() -> None:
    """PLE's names; a task's name may hold dots, and look like a level's."""
    task = "level1.click"
    specific = [f"level{n}.task_specific.{task}.0" for n in (1, 2)]
    use = health(
        experts=dict.fromkeys(specific),
        gates={task: {"level2.shared.0": 0.3, specific[1]: 0.7}},
        meta_gates={
            f"level1.{task}": {"level1.shared.0": 0.75, specific[0]: 0.25},
            "level1.shared": {"level1.shared.0": 0.5, specific[0]: 0.5},
        },
        meta_self_gates={f"level1.{task}": {specific[0]: 1.0}},
    )
    assert shared_weights(use) == {
        "level1.shared.0": {f"level1.{task}": 0.75, "level1.shared": 0.5}
    }
    assert lower_levels(use, task) == ["level1"]
    assert lower_levels(use, "click") == []
    assert add_use(use)["tasks"] == {
        task: {"task_specific_weight": 0.7, "level1_task_specific_weight": 1.25}
    }
    assert even_weight(use, task) == even_weight(use, task, "level1") == 0.5


def test_towers_without_gates_have_no_use() -> None:
    use = add_use(health(experts={"task_specific.click.0": {}, "task_specific.like.0": {}}))
    assert (use["shared"], use["tasks"]) == ({}, {})
