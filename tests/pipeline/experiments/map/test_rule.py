"""The rule finds planted regions, and says so when there are none."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import fmean

import pytest

from pipeline.experiments.map.dials import BASE, Dials, random_cells
from pipeline.experiments.map.rule import Sample, fit_rule, mean_errors, predict


def _samples(planted: dict[str, float], noise: float = 0.0) -> list[Sample]:
    drawn = random.Random(1)
    cells = random_cells(80, (1_024, 4_096, 16_384, 65_536))
    return [_sample(cell, [_planted(cell, planted) + drawn.gauss(0, noise)] * 2) for cell in cells]


def _sample(cell: Dials, differences: Sequence[float]) -> Sample:
    by_seed = {str(seed): value for seed, value in enumerate(differences)}
    return Sample(asdict(cell), fmean(differences), by_seed)


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
    regions = fit_rule([_sample(cell, [drawn.gauss(0, 1)]) for cell in cells])
    fresh = [_sample(cell, [drawn.gauss(0, 1)]) for cell in cells for _ in range(20)]
    error, without = mean_errors(regions, fresh)
    assert error > without


def test_equal_cells_are_one_region() -> None:
    samples = [replace(one, difference=0.25) for one in _samples({})]
    (region,) = fit_rule(samples)
    assert region.text == "everywhere"
    assert predict([region], asdict(BASE)) == 0.25


def test_the_error_of_a_region_is_that_over_seeds() -> None:
    """Every cell moves with the seed: more cells do not make the mean surer."""
    cells = [replace(BASE, rows=rows) for rows in range(1, 40)]
    (region,) = fit_rule([_sample(cell, [-2.0, 0.0, 2.0]) for cell in cells])
    assert region.error == pytest.approx(2 / 3**0.5)
    assert region.conclusion == "inconclusive"
