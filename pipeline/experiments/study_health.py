"""What a study's runs found of their experts: faults by tower, and in which seeds."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.io.json_types import Json
from pipeline.metrics.chance import at_chance

WRONG = "wrong"
"""The severity of a finding that names a fault."""
_MOST = 6  # faults named in the answer


def findings(study: Json, tower: str) -> list[tuple[Json, list[int]]] | None:
    """Findings on the tower's experts, each with its seeds; None where no run has a diagnosis."""
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
    """Whether a tower's experts are sound, the faults first; and how many faults others have."""
    found = findings(study, name)
    if found is None:
        return "Not known: its runs' health.json holds no diagnosis."
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
    return f"{text} Faults found a run: {', '.join(rates)}."


def _finding(finding: Json, seeds: Sequence[int]) -> str:
    where = ", ".join(map(str, seeds))
    return f"{finding['text'].rstrip('.')} ({finding['kind']}, seed {where})"
