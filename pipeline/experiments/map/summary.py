"""map.json: the measured cells of a map, and the rule. Does not import torch.

A score is the regret to the oracle divided by the entropy of the task's rate, in percent, averaged
over tasks: the normalized entropy of a tower minus that of the oracle, times 100. Lower is better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from pipeline.experiments.file_types import HOME
from pipeline.experiments.map.cell_file import VERSION
from pipeline.experiments.map.design import MapPlan
from pipeline.experiments.map.dials import LOSING, Dials
from pipeline.experiments.map.rule import Sample, fit_rule, mean_errors
from pipeline.experiments.paired import difference, estimate
from pipeline.io.json_types import Json
from pipeline.metrics.spec import metric_named

_LOWER_IS_BETTER = metric_named("ne")
_HIGHER_IS_BETTER = metric_named("auc")
KINDS = ("collapse", "degradation", "underfitting")

Results = Mapping[Dials, Mapping[int, Json]]
"""Results by cell and seed."""


def summarize(plan: MapPlan, results: Results, num_jobs: int) -> Json:
    """Return the content of map.json."""
    cells = [_cell(plan, dials, by_seed) for dials, by_seed in results.items() if by_seed]
    return {
        "version": VERSION,
        "kind": plan.kind,
        "towers": list(plan.towers),
        "seeds": list(plan.seeds),
        "jobs": num_jobs,
        "done": sum(map(len, results.values())),
        "cells": cells,
        "rule": rule_of(plan, cells),
        "anomalies": _anomalies(plan, results),
    }


def score(result: Json, tower: str, name: str = "regret") -> float:
    """Return the score of a tower in the result of a cell and seed, in percent."""
    regrets = result["towers"][tower][name]
    return 100 * fmean(a / b for a, b in zip(regrets, result["entropy"], strict=True))


def _cell(plan: MapPlan, dials: Dials, by_seed: Mapping[int, Json]) -> Json:
    """Summarize a cell. The best rival is that of the validation rows, over all seeds."""
    val = {
        tower: fmean(score(result, tower, "val_regret") for result in by_seed.values())
        for tower in plan.towers
    }
    rivals = {tower: value for tower, value in val.items() if not tower.startswith(HOME)}
    rival = min(rivals, key=rivals.__getitem__)
    scores = {
        tower: {seed: score(result, tower) for seed, result in by_seed.items()}
        for tower in plan.towers
    }
    auc = {
        tower: {seed: -fmean(r["towers"][tower]["auc_gap"]) for seed, r in by_seed.items()}
        for tower in (HOME, rival)
    }
    return {
        "dials": asdict(dials),
        "title": next((title for title, cell in LOSING.items() if cell == dials), None),
        "is_random": _is_random(plan, dials),
        "seeds": len(by_seed),
        "information": _mean_of(by_seed, lambda r: [i / e for i, e in _pairs(r)]),
        "rival": rival,
        "difference": asdict(difference(scores[HOME], scores[rival], _LOWER_IS_BETTER)),
        "auc_difference": asdict(difference(auc[HOME], auc[rival], _HIGHER_IS_BETTER)),
        "towers": {
            tower: {
                "score": asdict(estimate(scores[tower])),
                "regret": _by_task(by_seed, tower, "regret"),
                "auc_gap": _by_task(by_seed, tower, "auc_gap"),
                "faults": _faults(by_seed, tower),
            }
            for tower in plan.towers
        },
    }


def _pairs(result: Json) -> zip[tuple[float, float]]:
    return zip(result["information"], result["entropy"], strict=True)


def _mean_of(by_seed: Mapping[int, Json], values: Any) -> float:
    return 100 * fmean(fmean(values(result)) for result in by_seed.values())


def _by_task(by_seed: Mapping[int, Json], tower: str, name: str) -> list[float]:
    """Return means over seeds, by task."""
    columns = [result["towers"][tower][name] for result in by_seed.values()]
    return [fmean(values) for values in zip(*columns, strict=True)]


def _faults(by_seed: Mapping[int, Json], tower: str) -> dict[str, int]:
    """Return the number of seeds with an anomaly of each kind."""
    found = [{one["kind"] for one in r["towers"][tower]["findings"]} for r in by_seed.values()]
    return {kind: sum(kind in kinds for kinds in found) for kind in KINDS}


def _is_random(plan: MapPlan, dials: Dials) -> bool:
    return dials in plan.extra and dials not in LOSING.values()


def rule_of(plan: MapPlan, cells: Sequence[Json]) -> Json:
    """Fit the rule on the grids' cells, and test it on the random ones."""
    fitted, tested = (
        [
            Sample(cell["dials"], cell["difference"]["mean"])
            for cell in cells
            if cell["is_random"] == is_random
        ]
        for is_random in (False, True)
    )
    regions = fit_rule(fitted)
    found: Json = {"cells": len(fitted), "regions": [], "test": None}
    for region in regions:
        members = [
            cell["difference"]["conclusion"]
            for cell in cells
            if not cell["is_random"] and region.holds(cell["dials"])
        ]
        found["regions"].append(
            {
                "where": region.text,
                "conditions": [asdict(condition) for condition in region.conditions],
                "cells": region.num_cells,
                "mean": region.mean,
                "error": region.error,
                "conclusion": region.conclusion,
                "better": members.count("better"),
                "worse": members.count("worse"),
            }
        )
    if regions and tested:
        error, without = mean_errors(regions, tested)
        found["test"] = {"cells": len(tested), "error": error, "error_of_none": without}
    return found


def _anomalies(plan: MapPlan, results: Results) -> dict[str, dict[str, float]]:
    """Return the share of runs with each anomaly, by tower."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KINDS, 0))
    runs = sum(map(len, results.values()))
    for by_seed in results.values():
        for tower in plan.towers:
            for kind, count in _faults(by_seed, tower).items():
                counts[tower][kind] += count
    return {
        tower: {kind: count / max(1, runs) for kind, count in of.items()}
        for tower, of in counts.items()
    }
