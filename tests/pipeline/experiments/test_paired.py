"""Means and paired differences equal numpy's, and say nothing where there is nothing to say."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.experiments.paired import (
    Difference,
    difference,
    estimate,
    false_positive_rate,
    holm,
    p_value,
)
from pipeline.metrics.spec import METRICS, metric_named

_AUC = metric_named("auc")
RANDOM = np.random.default_rng(0)
OURS = {seed: float(value) for seed, value in zip((0, 3, 5, 8), RANDOM.random(4), strict=True)}
THEIRS = {seed: float(value) for seed, value in zip((8, 5, 3, 0), RANDOM.random(4), strict=True)}


def test_an_estimate_is_numpys() -> None:
    found = estimate(OURS)
    values = np.array(list(OURS.values()))
    assert found.n == 4
    assert found.mean == pytest.approx(values.mean())
    assert found.deviation == pytest.approx(values.std(ddof=1))


@pytest.mark.parametrize("metric", [metric.name for metric in METRICS])
def test_a_difference_is_paired_by_seed(metric: str) -> None:
    seeds = sorted(OURS)
    a, b = (np.array([side[seed] for seed in seeds]) for side in (OURS, THEIRS))
    if metric == "calibration":
        a, b = abs(a - 1), abs(b - 1)
    found = difference(OURS, THEIRS, metric_named(metric))
    assert found.n == 4
    assert found.mean == pytest.approx((a - b).mean())
    assert found.error == pytest.approx((a - b).std(ddof=1) / 2)


def test_pairing_takes_out_what_a_seed_does_to_all() -> None:
    """Seeds that lift both towers alike leave no error."""
    base = {0: 0.5, 1: 0.75, 2: 0.625}
    found = difference(
        {seed: value + 0.125 for seed, value in base.items()}, base, metric_named("auc")
    )
    assert found == Difference(n=3, mean=0.125, error=0.0, conclusion="better")


@pytest.mark.parametrize(
    ("metric", "shift", "conclusion"),
    [
        ("auc", 0.01, "better"),
        ("gauc", -0.01, "worse"),
        ("ne", 0.01, "worse"),
        ("log_loss", -0.01, "better"),
        ("auc", 0.0001, "inconclusive"),
        ("ne", 0.0, "inconclusive"),
    ],
)
def test_a_conclusion_needs_two_standard_errors(metric: str, shift: float, conclusion: str) -> None:
    theirs = {0: 0.5, 1: 0.6, 2: 0.7, 3: 0.8}
    noise = (0.001, -0.001, 0.001, -0.001)
    ours = {seed: value + shift + noise[seed] for seed, value in theirs.items()}
    assert difference(ours, theirs, metric_named(metric)).conclusion == conclusion


def test_calibration_is_judged_by_its_distance_to_one() -> None:
    """From 1.2 to 0.9 is better, though it went down past 1."""
    found = difference({0: 0.9, 1: 0.9}, {0: 1.2, 1: 1.2}, metric_named("calibration"))
    assert found.mean == pytest.approx(-0.1)
    assert found.conclusion == "better"


def test_one_seed_has_no_error_and_no_conclusion() -> None:
    assert estimate({3: 0.7}).deviation is None
    assert difference({3: 0.75}, {3: 0.5}, metric_named("auc")) == Difference(
        n=1, mean=0.25, error=None, conclusion="inconclusive"
    )


def test_what_is_undefined_or_not_common_is_left_out() -> None:
    found = difference(
        {0: 0.5, 1: None, 2: 0.75, 4: 0.5}, {0: 0.25, 1: 0.5, 2: 0.5}, metric_named("auc")
    )
    assert (found.n, found.mean) == (2, 0.25)
    assert difference({0: None}, {0: 0.5}, metric_named("gauc")).mean is None
    assert estimate({0: None}).mean is None
    assert estimate({}).n == 0


@pytest.mark.parametrize(
    ("n", "expected"), [(2, 0.2952), (3, 0.1835), (4, 0.1394), (8, 0.0856), (1000, 0.0458)]
)
def test_the_false_positive_rate_of_a_false_call_is_students(n: int, expected: float) -> None:
    """P(|t| > 2) as tables give it."""
    assert false_positive_rate(n) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("t", "n", "expected"),
    [(12.706, 2, 0.05), (63.657, 2, 0.01), (4.303, 3, 0.05), (2.571, 6, 0.05)],
)
def test_p_values_are_those_of_students_table(t: float, n: int, expected: float) -> None:
    assert p_value(-t, 1.0, n) == pytest.approx(expected, rel=1e-3)
    assert p_value(t, None, 1) == p_value(0.0, 0.0, n) == 1.0


def test_holm_stops_at_the_first_test_that_fails() -> None:
    assert holm([0.02, 0.001, 0.03, 0.04]) == [False, True, False, False]
    assert holm([0.01, 0.02, 0.05]) == [True, True, True]
    assert holm([]) == []
