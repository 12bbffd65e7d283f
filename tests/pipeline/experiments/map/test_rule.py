"""The rule finds planted regions, and says so when there are none."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

from pipeline.experiments.map.dials import BASE, Dials, random_cells
from pipeline.experiments.map.rule import Sample, fit_rule, mean_errors, predict


def _samples(planted: dict[str, float], noise: float = 0.0) -> list[Sample]:
    drawn = random.Random(1)
    cells = random_cells(80, (1_024, 4_096, 16_384, 65_536))
    return [Sample(asdict(cell), _planted(cell, planted) + drawn.gauss(0, noise)) for cell in cells]


def _planted(cell: Dials, planted: dict[str, float]) -> float:
    return -1.0 if all(asdict(cell)[name] >= value for name, value in planted.items()) else 0.5


def test_a_planted_region_is_found() -> None:
    regions = fit_rule(_samples({"rows": 16_384, "tasks": 6}, noise=0.1))
    (better,) = (region for region in regions if region.conclusion == "better")
    assert set(better.text.split(" and ")) == {"rows from 16,384", "tasks from 6"}
    assert abs(better.mean + 1.0) < 0.1


def test_regions_cover_all_dials_once() -> None:
    samples = _samples({"rows": 16_384, "tasks": 6}, noise=0.3)
    regions = fit_rule(samples)
    assert sum(region.num_cells for region in regions) == len(samples)
    for one in samples:
        assert sum(region.holds(one.dials) for region in regions) == 1


def test_noise_alone_is_no_better_than_no_rule() -> None:
    drawn = random.Random(0)
    cells = [replace(BASE, rows=rows, tasks=tasks) for rows in (1, 2, 3, 4) for tasks in (1, 2, 3)]
    regions = fit_rule([Sample(asdict(cell), drawn.gauss(0, 1)) for cell in cells])
    fresh = [Sample(asdict(cell), drawn.gauss(0, 1)) for cell in cells for _ in range(20)]
    error, without = mean_errors(regions, fresh)
    assert error > without


def test_equal_cells_are_one_region() -> None:
    samples = [replace(one, difference=0.25) for one in _samples({})]
    (region,) = fit_rule(samples)
    assert region.text == "everywhere"
    assert predict([region], asdict(BASE)) == 0.25
