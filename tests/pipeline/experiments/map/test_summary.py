"""Cells are compared with a rival that the same seed did not choose; diverged towers count."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.map.dials import LOSING, Dials
from pipeline.experiments.map.map_page import write_map_page
from pipeline.experiments.map.summary import best_rivals, rule_of, summarize
from pipeline.experiments.paired import difference, false_positive_rate
from pipeline.io.json_types import Json
from pipeline.metrics.spec import metric_named
from tests.pipeline.experiments.map.plans import TINY, result

_CELLS = 4_000


@pytest.mark.parametrize(("rivals", "seeds"), [(3, 2), (7, 3)])
def test_equal_towers_differ_both_ways_and_near_the_nominal_rate(rivals: int, seeds: int) -> None:
    drawn = random.Random(0)
    found = []
    for _ in range(_CELLS):
        home, *others = ({s: drawn.gauss(0, 1) for s in range(seeds)} for _ in range(rivals + 1))
        val = {str(rival): scores for rival, scores in enumerate(others)}
        theirs = {seed: val[rival][seed] for seed, rival in best_rivals(val).items()}
        found.append(difference(home, theirs, metric_named("ne")).conclusion)
    nominal = false_positive_rate(seeds) / 2
    better, worse = (found.count(side) / _CELLS for side in ("better", "worse"))
    assert better == pytest.approx(worse, abs=0.03)
    assert nominal < (better + worse) / 2 < nominal + 0.04


def _results(diverged: dict[int, set[str]]) -> dict[Dials, dict[int, Json]]:
    """Return the results of the tiny map's cells, without the towers that diverge by seed."""
    found: dict[Dials, dict[int, Any]] = {cell: {} for cell in TINY.cells}
    for job in TINY.jobs:
        one = result(job)
        lost = dict.fromkeys(diverged.get(job.seed, set()))
        found[job.cell][job.seed] = one | {"towers": one["towers"] | lost}
    return found


def test_a_seed_in_which_home_diverges_is_left_out_and_counted() -> None:
    found = summarize(TINY, _results({1: {"home"}}), 0)
    assert found["diverged"] == {"home": len(TINY.cells), "mmoe": 0}
    assert {cell["seeds"] for cell in found["cells"]} == {1}


def test_a_rival_that_diverges_is_none() -> None:
    found = summarize(TINY, _results({1: {"mmoe"}}), 0)
    assert found["diverged"]["mmoe"] == len(TINY.cells)
    assert found["cells"] == []


def test_the_page_shows_a_tower_that_always_diverges(tmp_path: Path) -> None:
    plan = replace(TINY, towers=(*TINY.towers, "ple"))
    found = summarize(plan, _results({seed: {"ple"} for seed in TINY.seeds}), 0)
    page = write_map_page(tmp_path, plan, found).read_text(encoding="utf-8")
    assert page.count(">diverged<") == len(TINY.cells)
    assert f"ple {len(TINY.cells) * len(TINY.seeds)}" in page


def test_the_rule_is_not_fitted_to_the_losing_worlds() -> None:
    plan = replace(TINY, extra=tuple(LOSING.values()))
    cells = [
        {
            "dials": asdict(dials),
            "is_random": False,
            "by_seed": {"0": 0.0, "1": 0.0},
            "difference": {"mean": 0.0, "conclusion": "inconclusive"},
        }
        for dials in plan.cells
    ]
    assert rule_of(plan, cells)["cells"] == len(list(plan.grids[0].cells()))
