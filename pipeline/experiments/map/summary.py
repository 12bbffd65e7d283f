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
    found = (_cell(plan, dials, by_seed) for dials, by_seed in results.items() if by_seed)
    cells = [cell for cell in found if cell]
    return {
        "version": VERSION,
        "kind": plan.kind,
        "towers": list(plan.towers),
        "seeds": list(plan.seeds),
        "jobs": num_jobs,
        "done": sum(map(len, results.values())),
        "diverged": {tower: _num_diverged(results, tower) for tower in plan.towers},
        "cells": cells,
        "rule": rule_of(plan, cells),
        "anomalies": _anomalies(plan, results),
    }


def score(result: Json, tower: str, name: str = "regret") -> float:
    """Return the score of a tower in the result of a cell and seed, in percent."""
    regrets = result["towers"][tower][name]
    return 100 * fmean(a / b for a, b in zip(regrets, result["entropy"], strict=True))


def best_rivals(val: Mapping[str, Mapping[int, float]]) -> dict[int, str]:
    """Return the rival that each seed is compared with, from validation scores by rival and seed.

    It is the best one on average over the other seeds. The best one of the same seed is often
    merely lucky there, and equal towers would seem worse than it.
    """
    seeds = list(next(iter(val.values())))

    def best(without: int) -> str:
        others = [seed for seed in seeds if seed != without] or seeds
        return min(val, key=lambda rival: fmean(val[rival][seed] for seed in others))

    return {seed: best(seed) for seed in seeds}


def _cell(plan: MapPlan, dials: Dials, all_seeds: Mapping[int, Json]) -> Json | None:
    """Summarize a cell over the seeds in which HoME did not diverge.

    Rivals are the towers that diverged in none of these. None without a seed or a rival.
    """
    by_seed = {seed: r for seed, r in all_seeds.items() if r["towers"][HOME]}
    val = {
        tower: {seed: score(result, tower, "val_regret") for seed, result in by_seed.items()}
        for tower in plan.towers
        if not tower.startswith(HOME) and all(r["towers"][tower] for r in by_seed.values())
    }
    if not by_seed or not val:
        return None
    rivals = best_rivals(val)
    scores = {
        tower: {seed: score(r, tower) for seed, r in by_seed.items() if r["towers"][tower]}
        for tower in plan.towers
    }
    rival_scores = {seed: scores[rival][seed] for seed, rival in rivals.items()}
    auc = {seed: _auc(result, HOME) for seed, result in by_seed.items()}
    rival_auc = {seed: _auc(by_seed[seed], rival) for seed, rival in rivals.items()}
    return {
        "dials": asdict(dials),
        "title": next((title for title, cell in LOSING.items() if cell == dials), None),
        "is_random": _is_random(plan, dials),
        "seeds": len(by_seed),
        "information": _mean_of(by_seed, lambda r: [i / e for i, e in _pairs(r)]),
        "rival": " or ".join(sorted(set(rivals.values()))),
        "difference": asdict(difference(scores[HOME], rival_scores, _LOWER_IS_BETTER)),
        "by_seed": {str(seed): scores[HOME][seed] - rival_scores[seed] for seed in rivals},
        "auc_difference": asdict(difference(auc, rival_auc, _HIGHER_IS_BETTER)),
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


def _auc(result: Json, tower: str) -> float:
    """Return a tower's AUC minus the oracle's, averaged over tasks."""
    return -fmean(result["towers"][tower]["auc_gap"])


def _num_diverged(results: Results, tower: str) -> int:
    """Return the number of cells and seeds in which the tower diverged."""
    every = (result for by_seed in results.values() for result in by_seed.values())
    return sum(result["towers"][tower] is None for result in every)


def _pairs(result: Json) -> zip[tuple[float, float]]:
    return zip(result["information"], result["entropy"], strict=True)


def _mean_of(by_seed: Mapping[int, Json], values: Any) -> float:
    return 100 * fmean(fmean(values(result)) for result in by_seed.values())


def _by_task(by_seed: Mapping[int, Json], tower: str, name: str) -> list[float]:
    """Return means over seeds, by task; empty if the tower diverged in all."""
    columns = [r["towers"][tower][name] for r in by_seed.values() if r["towers"][tower]]
    return [fmean(values) for values in zip(*columns, strict=True)]


def _faults(by_seed: Mapping[int, Json], tower: str) -> dict[str, int]:
    """Return the number of seeds with an anomaly of each kind."""
    towers = filter(None, (result["towers"][tower] for result in by_seed.values()))
    found = [{one["kind"] for one in of["findings"]} for of in towers]
    return {kind: sum(kind in kinds for kinds in found) for kind in KINDS}


def _is_random(plan: MapPlan, dials: Dials) -> bool:
    return dials in plan.extra and dials not in LOSING.values()


def rule_of(plan: MapPlan, cells: Sequence[Json]) -> Json:
    """Fit the rule on the grids' cells, and test it on the random ones.

    Worlds where HoME should lose are in neither, unless they are in a grid.
    """
    grids = {dials for grid in plan.grids for dials in grid.cells()}
    in_grid = [cell for cell in cells if Dials(**cell["dials"]) in grids]
    fitted = [_sample(cell) for cell in in_grid]
    tested = [_sample(cell) for cell in cells if cell["is_random"]]
    regions = fit_rule(fitted)
    found: Json = {"cells": len(fitted), "regions": [], "test": None}
    for region in regions:
        members = [
            cell["difference"]["conclusion"] for cell in in_grid if region.holds(cell["dials"])
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


def _sample(cell: Json) -> Sample:
    return Sample(cell["dials"], cell["difference"]["mean"], cell["by_seed"])


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
