"""The part of a report on a tower's experts and gates, from health.json."""

from __future__ import annotations

from pipeline.report_figures import expert_bars
from pipeline.report_files import Json
from pipeline.report_page import Cell, chart, charts, missing, note, section, table

# Figure in health.json, heading, axis, how to read it.
_EXPERT_BARS = (
    ("mean", "Mean of each expert's output", "mean", "Over rows and units."),
    (
        "deviation",
        "Spread of each expert's output",
        "standard deviation",
        "A gate can weigh experts fairly only where their outputs are of one scale.",
    ),
    (
        "zero_fraction",
        "Zeros in each expert's output",
        "share of outputs",
        "Near 1, the expert is dead.",
    ),
)

# Part of health.json, heading, how to read it.
_GATES = (
    ("gates", "Mean gate weight, expert by task", "A task's weights add up to 1."),
    (
        "self_gates",
        "Mean self-gate weight, expert by task",
        "What a task adds of its own experts; a lone expert has a sigmoid gate of its own.",
    ),
    ("meta_gates", "Mean gate weight of level 1, expert by group", "A group's add up to 1."),
    ("meta_self_gates", "Mean self-gate weight of level 1, expert by group", ""),
)


def experts_section(health: Json | None) -> str:
    """Bars for the experts' outputs, heat maps for the gates' weights."""
    if health is None:
        return section("Experts", missing("health.json, written with the first evaluation"))
    experts = health["experts"]
    if not experts:
        return section("Experts", missing("experts (this tower has none)"))
    parts = [
        chart(title, text, expert_bars(experts, name, axis))
        for name, title, axis, text in _EXPERT_BARS
    ]
    heat_maps = [
        _heat_map(title, text, health[part]) for part, title, text in _GATES if health.get(part)
    ]
    tail = "" if heat_maps else missing("gate weights (this tower has no gates)")
    return section("Experts", charts(parts, "small"), *heat_maps, tail)


def _heat_map(title: str, text: str, weights: dict[str, dict[str, float]]) -> str:
    """A row an expert, a column a gate; empty where the gate does not see the expert."""
    experts = list(dict.fromkeys(expert for seen in weights.values() for expert in seen))
    rows = [
        [
            Cell(expert),
            *(
                Cell(f"{seen[expert]:.2f}", seen[expert], min(1.0, seen[expert]))
                if expert in seen
                else Cell("")
                for seen in weights.values()
            ),
        ]
        for expert in experts
    ]
    return f"<h3>{title}</h3>{note(text)}{table(['expert', *weights], rows)}"
