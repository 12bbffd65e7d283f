"""Who uses which expert: figures that follow from mean gate weights. Plain Python, no torch.

Two of the anomalies that HoME cures are seen here: experts that are shared by name only
(degradation), and tasks that leave their own experts alone (underfitting).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from pipeline.io.json_types import Json

GATES = ("gates", "self_gates", "meta_gates", "meta_self_gates")
"""Kinds of gates, as models/probe.py calls them."""

# 'level2.task_specific.click.0', 'task_specific.click.0'; a task's name may hold dots.
_OWN = re.compile(r"(?:level\d+\.)?task_specific\.(.+)\.\d+", re.DOTALL)
# Of levels before the last: HoME's, and those of PLE and AdaTT.
_LOWER_SHARED = re.compile(r"(?:meta|level\d+)\.shared\.\d+")
_LEVEL = re.compile(r"level\d+")


def own_task(expert: str) -> str | None:
    """The task whose own the expert of this name is; None for one that is for several."""
    found = _OWN.fullmatch(expert)
    return found[1] if found else None


def shared_weights(health: Json) -> dict[str, dict[str, float | None]]:
    """Expert -> gate -> its mean weight, of experts that are there for more than one of the gates.

    Those that several tasks' gates see and that are no task's own, and the 'shared' ones of levels
    before the last, over the gates of their level.
    """
    found: dict[str, dict[str, float | None]] = {}
    for kind in ("gates", "meta_gates"):
        for gate, seen in health[kind].items():
            for expert, weight in seen.items():
                if own_task(expert) is None and (
                    kind == "gates" or _LOWER_SHARED.fullmatch(expert)
                ):
                    found.setdefault(expert, {})[gate] = weight
    return {expert: by_gate for expert, by_gate in found.items() if len(by_gate) > 1}


def entropy(weights: list[float | None]) -> float | None:
    """Of two or more weights' shares in their sum, from 0 (all in one) to 1 (all alike).

    None where it is not defined: weights that are not known, or all zero.
    """
    known = [weight for weight in weights if weight is not None]
    total = sum(known)
    if len(known) < len(weights) or not total > 0:
        return None
    shares = [weight / total for weight in known if weight > 0]
    # Rounding can put it just outside.
    nats = -sum(share * math.log(share) for share in shares)
    return min(1.0, max(0.0, nats / math.log(len(weights))))


def lower_levels(health: Json, task: str) -> list[str]:
    """Levels before the last at which the task has a gate of its own, as 'level1'."""
    levels = (gate.removesuffix(f".{task}") for gate in health["meta_gates"])
    return [level for level in levels if _LEVEL.fullmatch(level)]


def own_weight(health: Json, task: str, level: str = "") -> float | None:
    """What a task's gate and self-gate give its own experts together; None: unknown, or no gate.

    `level`: one of `lower_levels`, or '' for the last one.
    """
    gate, prefix = (f"{level}.{task}", "meta_") if level else (task, "")
    weights = [
        weight
        for kind in ("gates", "self_gates")
        for expert, weight in health[prefix + kind].get(gate, {}).items()
        if own_task(expert) == task
    ]
    known = [weight for weight in weights if weight is not None]
    return sum(known) if known and len(known) == len(weights) else None


def even_weight(health: Json, task: str, level: str = "") -> float:
    """What a task's own experts would get of a gate that weighs all it sees alike."""
    gate, kind = (f"{level}.{task}", "meta_gates") if level else (task, "gates")
    seen = health[kind].get(gate, {})
    return sum(own_task(expert) == task for expert in seen) / max(1, len(seen))


def own_weights(health: Json, task: str) -> Iterator[tuple[str, float, float]]:
    """Level ('' for the last), weight of the task's own experts there, and an even gate's."""
    for level in ("", *lower_levels(health, task)):
        weight = health["tasks"][task].get(_own_weight_name(level))
        if weight is not None:
            yield level, weight, even_weight(health, task, level)


def _own_weight_name(level: str) -> str:
    """A task's figure of that level: 'own_weight' (the last one), 'level1_own_weight'."""
    return f"{level}_own_weight" if level else "own_weight"


def add_use(health: Json) -> Json:
    """`health` with what follows from its gates:

    {"shared": {EXPERT: {"entropy": over the gates that see it, 0 to 1}},
     "tasks": {TASK: {"own_weight": ..., "level1_own_weight": if it has a gate at that level}}}, of
    tasks that have experts of their own under a gate
    """
    owners = [own_task(expert) for expert in health["experts"]]
    shared = {
        expert: {"entropy": entropy(list(by_gate.values()))}
        for expert, by_gate in shared_weights(health).items()
    }
    tasks = {
        task: {
            _own_weight_name(level): own_weight(health, task, level)
            for level in ("", *lower_levels(health, task))
        }
        for task in health["gates"]
        if task in owners
    }
    return health | {"shared": shared, "tasks": tasks}
