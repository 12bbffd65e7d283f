"""p-values, their correction and power, with known outcomes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.experiments.rolling.differences import difference, holm, power_of
from pipeline.experiments.rolling.scored import Scored


def test_equal_towers_differ_at_the_stated_rate_where_seeds_dominate() -> None:
    """What a seed does is common to origins, and seeds have one or two degrees of freedom."""
    draw = np.random.default_rng(11)
    for num_origins, num_seeds in ((1, 2), (2, 2), (2, 3)):
        cells = [(str(origin), seed) for origin in range(num_origins) for seed in range(num_seeds)]
        hits, num_trials = 0, 1000
        for _ in range(num_trials):
            of_seed = draw.normal(size=num_seeds)
            home = {(origin, seed): of_seed[seed] + draw.normal() / 2 for origin, seed in cells}
            value = {"home": home, "ple": dict.fromkeys(cells, 0.0)}
            influence_U = {"home": np.full(100, 1e-4), "ple": np.zeros(100)}
            one = Scored(value=value, influence_U=influence_U, rows=100, users=100, counted=100)
            hits += difference(one, "home", "ple")["p"] < 0.05
        assert 0.03 * num_trials <= hits <= 0.07 * num_trials


def test_the_power_is_that_of_studies_with_so_many_users() -> None:
    """Four of five of them find a difference of .001; four of five like this one find the smallest
    that it is said to show."""
    draw = np.random.default_rng(3)
    cell = ("2022-05-01", 0)

    def study(users: int, true: float) -> Scored:
        influence_U = 0.01 * draw.normal(size=users) / users
        return Scored(
            value={"home": {cell: true + influence_U.sum()}, "ple": {cell: 0.0}},
            influence_U={"home": influence_U, "ple": np.zeros(users)},
            rows=3 * users,
            users=users,
            counted=users,
        )

    small = study(400, 0.0)
    scale = 0.01 / math.sqrt(400) / np.linalg.norm(small.influence_U["home"])  # its expectation
    small.influence_U["home"][:] *= scale
    power = power_of(small, difference(small, "home", "ple"))
    assert power["rows"] == pytest.approx(3 * power["users"], rel=0.01)
    for users, true in ((power["users"], 0.001), (400, power["smallest"])):
        p = [difference(study(users, true), "home", "ple")["p"] for _ in range(400)]
        assert 0.75 <= np.mean([value < 0.05 for value in p]) <= 0.85


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_a_step_down_loop_rejects(p: list[float]) -> None:
    rejected = [False] * len(p)
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if (len(p) - rank) * p[index] >= 0.05:
            break
        rejected[index] = True
    assert [value < 0.05 for value in holm(p)] == rejected
    assert all(a >= b for a, b in zip(holm(p), p, strict=True))
