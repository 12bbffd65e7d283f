"""Diagnoses experts from their metrics: three anomalies, in plain language.

The anomalies are those of HoME (Wang et al., arXiv 2408.05430): expert collapse, expert
degradation, expert underfitting. Does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from pipeline.expert_health.expert_use import GATES, shared_weights, task_specific_weights
from pipeline.io.json_types import Json

ZERO_LIMIT = 0.9
"""Share of an expert's outputs that are zero. The paper reports experts above 90% with ReLU; a
healthy ReLU expert has about 50%."""
DEAD_LIMIT = 1e-3
"""Deviation over rows relative to the size of the output: below it the expert is constant."""
LOAD_LIMIT = 1e-3
"""Share of rows that run an expert of a sparse tower: below it the expert hardly learns. Ours."""
SCALE_LIMIT = 10.0
"""Factor between the deviations of experts under one gate. The paper gives no value: at a factor
of ten, a gate must weight them ten to one for equal effect."""
ALONE_LIMIT = 0.9
"""Share of one task in all tasks' gate weight on a shared expert: 'used by one task only', with a
margin because a softmax is never zero."""
IDLE_LIMIT = 0.05
"""Weight of a shared expert relative to that of an even gate: if it is below a twentieth for all
gates, no task uses the expert."""
TASK_SPECIFIC_LIMIT = 0.2
"""Weight of task-specific experts relative to that of an even gate. The paper gives no value: a
fifth is far from even, and well above zero, where they stop learning."""

FindingKind = Literal["collapse", "degradation", "underfitting"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about one expert or task, or about all of them if they are healthy."""

    kind: FindingKind
    subject: str
    """An expert or a task; 'experts' or 'tasks' for all."""
    severity: Literal["wrong", "healthy", "unchecked"]
    text: str
    """The sentence, with value and limit."""


def diagnose(health: Json) -> list[Finding]:
    """Return the faults by kind; for a kind without faults, the checked values.

    `health` is the result of ExpertHealth.compute, optionally with metrics of ExpertProbe.add_to.
    """
    found: list[Finding] = []
    for kind, (check, summary) in _CHECKS.items():
        wrong = [Finding(kind, subject, "wrong", text) for subject, text in check(health)]
        found += wrong or [summary(health)]
    return found


def _collapse(health: Json) -> Iterator[tuple[str, str]]:
    alive = {}
    for expert, metrics in health["experts"].items():
        if metrics.get("load", 1.0) < LOAD_LIMIT:
            share = f"{metrics['load']:.2%} of rows run" if metrics["load"] else "no row runs"
            yield expert, f"{expert}: dead, {share} it (limit {LOAD_LIMIT:.1%})"
        elif None in metrics.values():
            yield expert, f"{expert}: its outputs are not finite"
        elif metrics["zero_fraction"] > ZERO_LIMIT:
            share = _percent(metrics["zero_fraction"])
            yield expert, f"{expert}: {share} of outputs are zero (limit {ZERO_LIMIT:.0%})"
        elif metrics["row_deviation"] <= DEAD_LIMIT * _size(metrics):
            yield (
                expert,
                f"{expert}: dead, its output is the same for every row (deviation over rows "
                f"{metrics['row_deviation']:.1g} at a size of {_size(metrics):.2g}, "
                f"limit {DEAD_LIMIT:g} of it)",
            )
        else:
            alive[expert] = metrics["deviation"]
    # Gates share experts: report each outlier under the gate where it deviates most.
    odd: dict[str, tuple[float, str]] = {}
    for gate, scales in _scales(health, alive):
        small, large = min(scales, key=scales.__getitem__), max(scales, key=scales.__getitem__)
        factor = scales[large] / scales[small]
        if factor > SCALE_LIMIT:
            middle = median(scales.values())
            is_small = middle / scales[small] >= scales[large] / middle
            expert, other = (small, large) if is_small else (large, small)
            text = (
                f"{expert}: its outputs spread {factor:.0f} times {'less' if is_small else 'more'} "
                f"than those of {other} under the gate of {gate} (limit {SCALE_LIMIT:g})"
            )
            odd[expert] = max(odd.get(expert, (0.0, "")), (factor, text))
    yield from ((expert, text) for expert, (_, text) in odd.items())


def _no_collapse(health: Json) -> Finding:
    experts = health["experts"]
    if not experts:
        return Finding("collapse", "experts", "unchecked", "this tower has no experts")
    zeros = max(metrics["zero_fraction"] for metrics in experts.values())
    deviations = {expert: metrics["deviation"] for expert, metrics in experts.items()}
    factors = [max(s.values()) / min(s.values()) for _, s in _scales(health, deviations)]
    scale = (
        f"outputs under one gate spread within a factor of {max(factors):.1f} "
        f"(limit {SCALE_LIMIT:g})"
        if factors
        else "no gate mixes them, so their scales may differ"
    )
    under = {expert for kind in GATES for seen in health[kind].values() for expert in seen}
    if factors and len(under) < len(experts):
        scale += f", {len(experts) - len(under)} are not under a probed gate"
    loads = [metrics["load"] for metrics in experts.values() if "load" in metrics]
    if loads:
        scale += (
            f"; a row runs {sum(loads):.1f} of them, each of them runs for {_percent(min(loads))} "
            f"to {_percent(max(loads))} of rows (limit {LOAD_LIMIT:.1%})"
        )
    text = (
        f"{_count(experts, 'expert')}: none dead, at most {_percent(zeros)} of one's outputs are "
        f"zero (limit {ZERO_LIMIT:.0%}); {scale}"
    )
    return Finding("collapse", "experts", "healthy", text)


def _degradation(health: Json) -> Iterator[tuple[str, str]]:
    for expert, weights in _shared(health).items():
        top = max(weights, key=weights.__getitem__)
        is_last = expert in health["gates"].get(top, {})
        even = 1 / len(health["gates" if is_last else "meta_gates"][top])
        if weights[top] < IDLE_LIMIT * even:
            yield (
                expert,
                f"{expert}: idle, no gate gives it more than {weights[top]:.2%} of its weight; an "
                f"even gate gives {even:.0%} (limit {IDLE_LIMIT:.0%} of that)",
            )
            continue
        share = weights[top] / sum(weights.values())
        # Before the last level, the output of the gate 'shared' is used by all tasks.
        serves_all = not is_last and top.rpartition(".")[2] == "shared"
        if share > ALONE_LIMIT and not serves_all:
            yield (
                expert,
                f"{expert}: {_percent(share)} of its gate weight comes from {top}: shared in name "
                f"only (limit {ALONE_LIMIT:.0%})",
            )


def _no_degradation(health: Json) -> Finding:
    shared = _shared(health)
    if not shared:
        text = "no expert is shared under gates, so none can be shared in name only"
        return Finding("degradation", "experts", "unchecked", text)
    share = max(max(weights.values()) / sum(weights.values()) for weights in shared.values())
    lowest = min(health["shared"][expert]["entropy"] for expert in shared)
    text = (
        f"{_count(shared, 'shared expert')}: at most {_percent(share)} of one's gate weight comes "
        f"from one task (limit {ALONE_LIMIT:.0%}); lowest entropy over tasks {lowest:.2f} of 1"
    )
    return Finding("degradation", "experts", "healthy", text)


def _underfitting(health: Json) -> Iterator[tuple[str, str]]:
    for task, metrics in health["tasks"].items():
        beside = _beside(metrics)
        left_alone = False
        for level, weight, even in task_specific_weights(health, task):
            if weight < TASK_SPECIFIC_LIMIT * even:
                left_alone = True
                where = f" of {level}" if level else ""
                yield (
                    task,
                    f"{task}: gate weight {weight:.2g} on its task-specific experts{where}; an "
                    f"even gate gives {even:.2g} (limit {TASK_SPECIFIC_LIMIT:g} of that){beside}",
                )
        if not left_alone and metrics.get("gradient_norm") == 0:
            yield task, f"{task}: no gradient reaches its task-specific experts{beside}"


def _no_underfitting(health: Json) -> Finding:
    tasks = health["tasks"]
    shares = {
        task: min(weight / even for _, weight, even in found)
        for task in tasks
        if (found := [*task_specific_weights(health, task)])
    }
    moved = [task for task, metrics in tasks.items() if metrics.get("gradient_norm")]
    parts = []
    if shares:
        least = min(shares.values())
        parts.append(
            f"each gives its task-specific experts at least {least:.2g} times an even gate's "
            f"weight (limit {TASK_SPECIFIC_LIMIT:g})"
        )
    if moved:
        parts.append("gradients reach the experts of all tasks")
    if not parts:
        text = "no task has task-specific experts under a gate, so none can be unused"
        return Finding("underfitting", "tasks", "unchecked", text)
    number = _count(shares or moved, "task")
    return Finding("underfitting", "tasks", "healthy", f"{number}: {'; '.join(parts)}")


def _shared(health: Json) -> dict[str, dict[str, float]]:
    """Return shared experts' weights by gate, if known and not all zero."""
    return {
        expert: {gate: weight or 0.0 for gate, weight in weights.items()}
        for expert, weights in shared_weights(health).items()
        if None not in weights.values()
    }


def _scales(health: Json, deviations: dict[str, float]) -> Iterator[tuple[str, dict[str, float]]]:
    """Return gate -> deviation of each of its experts, for gates with at least two experts."""
    for kind in ("gates", "meta_gates"):
        for gate, seen in health[kind].items():
            scales = {expert: deviations[expert] for expert in seen if expert in deviations}
            if len(scales) > 1:
                yield gate, scales


def _beside(metrics: Json) -> str:
    """Return context: how rare the task is, and the gradients of its task-specific experts."""
    parts = []
    if metrics.get("positive_rate") is not None:
        parts.append(f"{metrics['positive_rate']:.2%} of its rows are positive")
    if metrics.get("gradient_norm") and metrics.get("weight_norm"):
        parts.append(
            f"gradient norm {metrics['gradient_norm']:.2g} at a weight norm of "
            f"{metrics['weight_norm']:.2g}"
        )
    return f"; {', '.join(parts)}" if parts else ""


def _size(metrics: Json) -> float:
    """Return the root mean square of an expert's output."""
    return float((metrics["mean"] ** 2 + metrics["deviation"] ** 2) ** 0.5)


def _percent(share: float) -> str:
    """Format as a whole percentage; values below 1 are never 100%."""
    return f"{share:.0%}" if share < 0.995 or share == 1 else f"{min(share, 0.9999):.2%}"


def _count(things: Any, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


_CHECKS: dict[
    FindingKind, tuple[Callable[[Json], Iterator[tuple[str, str]]], Callable[[Json], Finding]]
]
_CHECKS = {
    "collapse": (_collapse, _no_collapse),
    "degradation": (_degradation, _no_degradation),
    "underfitting": (_underfitting, _no_underfitting),
}
