"""Health of experts in the runs of a study: faults by tower and seed."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.io.json_types import Json
from pipeline.metrics.chance import at_chance

WRONG = "wrong"
"""Severity of a fault."""
_MOST = 6  # maximum number of faults in the answer


def findings(study: Json, tower: str) -> list[tuple[Json, list[int]]] | None:
    """Return findings on the tower's experts with their seeds; None without any diagnosis."""
    diagnosed = _diagnosed(study, tower)
    found: dict[tuple[str, ...], tuple[Json, list[int]]] = {}
    for run in diagnosed:
        for finding in run["findings"]:
            key = tuple(finding[part] for part in ("severity", "kind", "subject"))
            found.setdefault(key, (finding, []))[1].append(run["seed"])
    return list(found.values()) if diagnosed else None


def _diagnosed(study: Json, tower: str) -> list[Json]:
    return [
        run
        for run in study["runs"]
        if run["tower"] == tower and run["status"] == "done" and run["findings"] is not None
    ]


def health_answer(study: Json, name: str) -> str:
    """Describe the health of a tower's experts, faults first, and fault counts of other towers."""
    found = findings(study, name)
    if found is None:
        return "Unknown: health.json of its runs has no diagnosis."
    wrong = [each for each in found if each[0]["severity"] == WRONG]
    named = [_finding(*each) for each in (wrong or found)]
    more = f"; and {len(named) - _MOST} more, below" if len(named) > _MOST else ""
    text = "; ".join(named[:_MOST]) + more + "."
    runs = _diagnosed(study, name)
    if not wrong and all(at_chance(run[study["split"]]) is not None for run in runs):
        text = f"Not known: {at_chance(runs[0][study['split']])}."
    elif not wrong:
        count = len(runs)
        text = f"Yes, in {'its one run' if count == 1 else f'each of {count} runs'}: {text}"
    else:
        text = f"Not all. {text}"
    rates = [
        f"{tower} {count / len(runs):.1f}"
        for tower in study["towers"]
        if (runs := _diagnosed(study, tower))
        for count in [sum(f["severity"] == WRONG for run in runs for f in run["findings"])]
    ]
    return f"{text} Faults per run: {', '.join(rates)}."


def _finding(finding: Json, seeds: Sequence[int]) -> str:
    where = ", ".join(map(str, seeds))
    return f"{finding['text'].rstrip('.')} ({finding['kind']}, seed {where})"
