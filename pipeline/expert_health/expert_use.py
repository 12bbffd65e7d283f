"""Use of experts: metrics derived from mean gate weights. Does not import torch.

They show two anomalies addressed by HoME: experts that are shared in name only (degradation), and
tasks that do not use their task-specific experts (underfitting).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from pipeline.io.json_types import Json

GATES = ("gates", "self_gates", "meta_gates", "meta_self_gates")
"""Kinds of gates, named as in models/probe.py."""

# 'level2.task_specific.click.0', 'task_specific.click.0'; the name of a task may contain dots.
_TASK_SPECIFIC = re.compile(r"(?:level\d+\.)?task_specific\.(.+)\.\d+", re.DOTALL)
# Gates of levels before the last: HoME's, and those of PLE and AdaTT.
_LOWER_SHARED = re.compile(r"(?:meta|level\d+)\.shared\.\d+")
_LEVEL = re.compile(r"level\d+")


def task_of_expert(expert: str) -> str | None:
    """Return the task of a task-specific expert; None for other experts."""
    found = _TASK_SPECIFIC.fullmatch(expert)
    return found[1] if found else None


def shared_weights(health: Json) -> dict[str, dict[str, float | None]]:
    """Return expert -> gate -> mean weight, for experts shared by several gates.

    These are experts under several tasks' gates that are not task-specific, and the 'shared' ones
    of levels before the last, over the gates of their level.
    """
    found: dict[str, dict[str, float | None]] = {}
    for kind in ("gates", "meta_gates"):
        for gate, seen in health[kind].items():
            for expert, weight in seen.items():
                if task_of_expert(expert) is None and (
                    kind == "gates" or _LOWER_SHARED.fullmatch(expert)
                ):
                    found.setdefault(expert, {})[gate] = weight
    return {expert: by_gate for expert, by_gate in found.items() if len(by_gate) > 1}


def entropy(weights: list[float | None]) -> float | None:
    """Return the normalized entropy of two or more weights, from 0 (one weight) to 1 (all equal).

    None if undefined: unknown weights, or all zero.
    """
    known = [weight for weight in weights if weight is not None]
    total = sum(known)
    if len(known) < len(weights) or not total > 0:
        return None
    shares = [weight / total for weight in known if weight > 0]
    # Rounding may exceed the range slightly.
    nats = -sum(share * math.log(share) for share in shares)
    return min(1.0, max(0.0, nats / math.log(len(weights))))


def lower_levels(health: Json, task: str) -> list[str]:
    """Return the levels before the last at which the task has its own gate, such as 'level1'."""
    levels = (gate.removesuffix(f".{task}") for gate in health["meta_gates"])
    return [level for level in levels if _LEVEL.fullmatch(level)]


def task_specific_weight(health: Json, task: str, level: str = "") -> float | None:
    """Return the sum of a task's gate and self-gate weights on its task-specific experts.

    None: unknown, or no gate.

    `level`: one of `lower_levels`, or '' for the last one.
    """
    gate, prefix = (f"{level}.{task}", "meta_") if level else (task, "")
    weights = [
        weight
        for kind in ("gates", "self_gates")
        for expert, weight in health[prefix + kind].get(gate, {}).items()
        if task_of_expert(expert) == task
    ]
    known = [weight for weight in weights if weight is not None]
    return sum(known) if known and len(known) == len(weights) else None


def even_weight(health: Json, task: str, level: str = "") -> float:
    """Return the weight of a task's specific experts under a gate with equal weights."""
    gate, kind = (f"{level}.{task}", "meta_gates") if level else (task, "gates")
    seen = health[kind].get(gate, {})
    return sum(task_of_expert(expert) == task for expert in seen) / max(1, len(seen))


def task_specific_weights(health: Json, task: str) -> Iterator[tuple[str, float, float]]:
    """Yield level ('' for the last), weight of task-specific experts, and that of an even gate."""
    for level in ("", *lower_levels(health, task)):
        weight = health["tasks"][task].get(_weight_name(level))
        if weight is not None:
            yield level, weight, even_weight(health, task, level)


def _weight_name(level: str) -> str:
    """Return 'task_specific_weight' (last level) or 'level1_task_specific_weight'."""
    return f"{level}_task_specific_weight" if level else "task_specific_weight"


def add_use(health: Json) -> Json:
    """Return `health` with metrics derived from its gates:

    {"shared": {EXPERT: {"entropy": over the gates it is under, 0 to 1}},
     "tasks": {TASK: {"task_specific_weight": ...,
                      "level1_task_specific_weight": if it has a gate at that level}}},
    of tasks that have task-specific experts under a gate
    """
    owners = [task_of_expert(expert) for expert in health["experts"]]
    shared = {
        expert: {"entropy": entropy(list(by_gate.values()))}
        for expert, by_gate in shared_weights(health).items()
    }
    tasks = {
        task: {
            _weight_name(level): task_specific_weight(health, task, level)
            for level in ("", *lower_levels(health, task))
        }
        for task in health["gates"]
        if task in owners
    }
    return health | {"shared": shared, "tasks": tasks}
