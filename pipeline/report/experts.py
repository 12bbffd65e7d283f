"""The section of a report about experts and gates, from health.json and the log."""

from __future__ import annotations

import math
from typing import Literal

from markupsafe import Markup

from pipeline.io.json_types import Json
from pipeline.metrics.chance import at_chance
from pipeline.report.charts import against_rate, expert_bars, probe_curves, style
from pipeline.report.page import (
    Cell,
    chart,
    charts,
    findings,
    heading,
    key,
    missing,
    note,
    section,
    table,
)
from pipeline.report.run_files import RunFiles

# Metric in health.json, heading, axis, how to read it.
_EXPERT_BARS = (
    ("mean", "Mean of each expert's output", "mean", "Over rows and units."),
    (
        "deviation",
        "Spread of each expert's output",
        "standard deviation",
        "A gate can weight experts evenly only if their outputs have similar scales.",
    ),
    (
        "zero_fraction",
        "Zeros in each expert's output",
        "share of outputs",
        "Near 1, the expert is dead.",
    ),
    ("load", "Rows that run each expert", "share of rows", "At 0, the expert does not learn."),
    (
        "weight",
        "Mean weight of each expert",
        "weight, over rows and tasks",
        "An even weight is 1 over the number of experts.",
    ),
)

# Part of health.json, heading, how to read it.
_GATES = (
    ("gates", "Mean gate weight, expert by task", "A task's weights add up to 1."),
    (
        "self_gates",
        "Mean self-gate weight, expert by task",
        "Weights with which task-specific experts are added; a single expert has a sigmoid gate.",
    ),
    (
        "meta_gates",
        "Mean gate weight before the last level, expert by gate",
        "A gate's weights add up to 1.",
    ),
    ("meta_self_gates", "Mean self-gate weight before the last level, expert by gate", ""),
)


# Part and metric of a probe in the log, heading, axis, its scale, how to read it.
_PROBE_CHARTS: tuple[tuple[str, str, str, str, Literal["share", "from 0", "log"], str], ...] = (
    (
        "experts",
        "zero_fraction",
        "Zeros in each expert's output, in training",
        "share of outputs",
        "share",
        "",
    ),
    (
        "experts",
        "load",
        "Rows that run each expert, in training",
        "share of rows",
        "share",
        "",
    ),
    (
        "shared",
        "entropy",
        "How evenly tasks use a shared expert",
        "entropy over tasks",
        "share",
        "1: all tasks equally; near 0: only one task uses it.",
    ),
    (
        "tasks",
        "task_specific_weight",
        "Gate weight on task-specific experts",
        "gate and self-gate",
        "from 0",
        "Near 0, the task does not use its task-specific experts.",
    ),
    (
        "tasks",
        "gradient_norm",
        "Gradient norm of task-specific experts",
        "gradient norm",
        "log",
        "For the global batch of one step, after clipping.",
    ),
)

# Metric of a task in health.json, heading, axis.
_AGAINST_RATE = (
    (
        "task_specific_weight",
        "Sparse tasks: gate weight of task-specific experts",
        "gate and self-gate",
    ),
    ("gradient_norm", "Sparse tasks: gradient of task-specific experts", "gradient norm"),
)


def experts_section(run: RunFiles) -> Markup:
    """Return diagnosis, bars and heat maps of the best evaluation, and curves over training."""
    curves = _curves(run)
    if run.health is None:
        return section(
            "Experts", missing("health.json, written with the first evaluation"), *curves
        )
    health = run.health
    experts = health["experts"]
    if not experts:
        return section("Experts", missing("experts (this tower has none)"))
    parts = [
        chart(title, text, expert_bars(experts, name, axis))
        for name, title, axis, text in _EXPERT_BARS
        if all(name in metrics for metrics in experts.values())
    ]
    heat_maps = [
        _heat_map(title, text, health[part]) for part, title, text in _GATES if health.get(part)
    ]
    tail = [] if heat_maps else [missing("gate weights (this tower has no gates)")]
    return section(
        "Experts",
        _diagnosis(health, run.results),
        charts(parts, "small"),
        *heat_maps,
        *tail,
        *_scatters(health.get("tasks", {})),
        *curves,
    )


def _diagnosis(health: Json, results: Json | None) -> Markup:
    if "diagnosis" not in health:
        return missing("a diagnosis (its health.json was written before there was one)")
    found = health["diagnosis"]
    wrong = sum(finding["severity"] == "wrong" for finding in found)
    nothing = None if results is None else at_chance(results["tasks"])
    if wrong:
        things = "things" if wrong > 1 else "thing"
        text = f"{wrong} {things} wrong with the experts of the best checkpoint."
    elif nothing:
        text = f"The experts of the best checkpoint cannot be judged: {nothing}."
    else:
        text = "All experts of the best checkpoint are healthy, as far as could be checked:"
    lines = [(one["severity"], f"{one['kind'].capitalize()}:", one["text"]) for one in found]
    return note(text) + findings(lines)


def _scatters(tasks: Json) -> list[Markup]:
    """Return charts of task-specific experts by the rarity of tasks, if there are any."""
    found = [
        (title, against_rate(tasks, name, axis, order=[*tasks]))
        for name, title, axis in _AGAINST_RATE
    ]
    text = "One point per task. Underfitting: points fall toward 0 to the left."
    parts = [chart(title, text, figure) for title, figure in found if figure.data]
    return [charts(parts)] if parts else []


def _curves(run: RunFiles) -> list[Markup]:
    """Return charts over the probes with any data, and keys of their lines."""
    parts = []
    experts = [*run.probe_points("experts", "mean")]
    for part, metric, title, axis, scale, text in _PROBE_CHARTS:
        points = run.probe_points(part, metric)
        order = [*dict.fromkeys([*(run.tasks if part == "tasks" else experts), *points])]
        if points:
            lines = key((name, *style(order.index(name))) for name in points)
            parts.append(chart(title, text, probe_curves(points, axis, scale, order), lines))
    if parts:
        return [heading("While training"), charts(parts)]
    return [missing("probes of the experts in training (--expert_health.probe_every)")]


def _heat_map(title: str, text: str, weights: dict[str, dict[str, float | None]]) -> Markup:
    """Return one row per expert, one column per gate; empty if the expert is not under the gate."""
    experts = list(dict.fromkeys(expert for seen in weights.values() for expert in seen))
    rows = [
        [
            Cell(expert),
            *(_weight(seen[expert]) if expert in seen else Cell("") for seen in weights.values()),
        ]
        for expert in experts
    ]
    return heading(title) + note(text) + table(["expert", *weights], rows)


def _weight(value: float | None) -> Cell:
    """Null is one that is not finite."""
    if value is None:
        return Cell("-", math.nan)
    return Cell(f"{value:.2f}", value, min(1.0, max(0.0, value)))
