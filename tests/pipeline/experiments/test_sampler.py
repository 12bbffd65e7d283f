"""What is drawn, which trial is stopped early (Optuna's median rule), and which field matters."""

from __future__ import annotations

import json
from dataclasses import asdict

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from pipeline.experiments.sampler import Sampler, State, Trial
from pipeline.experiments.search_space import Dimension, OneOf, Range

DIMENSIONS: list[Dimension] = [
    Range(field="dense.lr", low=1e-4, high=1e-2, log=True),
    Range(field="model.tower.expert_dim", low=32, high=128, step=32),
    OneOf(field="train.batch_size", values=("128", "256")),
]
values = st.lists(st.floats(0, 1), min_size=1, max_size=5)


def sampler(*, maximize: bool = True, seed: int = 7) -> Sampler:
    return Sampler(dimensions=DIMENSIONS, maximize=maximize, seed=seed)


def search(sampler: Sampler, count: int, trials: list[Trial]) -> list[Trial]:
    for number in range(len(trials), count):
        params = sampler.propose(trials)
        value = -abs(float(params["dense.lr"]) - 2e-3)
        trials.append(trial([(100, value)], number=number, params=params))
    return trials


def trial(
    evaluations: list[tuple[int, float]],
    state: State = "complete",
    number: int = 0,
    params: dict[str, int | float | str] | None = None,
) -> Trial:
    return Trial(
        trial=number,
        run="",
        state=state,
        value=evaluations[-1][1] if evaluations else None,
        params=params or {},
        evaluations=evaluations,
    )


def test_a_search_that_is_resumed_draws_what_it_would_have_drawn() -> None:
    expected = search(sampler(), 14, [])  # random ones, then by the model
    text = json.dumps([asdict(one) for one in expected[:12]])
    trials = [Trial(**one) for one in json.loads(text)]
    assert [one.params for one in search(sampler(), 14, trials)] == [one.params for one in expected]
    assert len({str(one.params) for one in expected}) == len(expected)
    assert sampler(seed=8).propose([]) != expected[0].params


def test_the_field_that_matters_weighs_most() -> None:
    assert sampler().importance([]) == {}
    weights = sampler().importance(search(sampler(), 12, []))
    assert max(weights, key=lambda field: weights[field]) == "dense.lr"
    assert sum(weights.values()) == pytest.approx(1)


@given(st.booleans(), st.lists(values, max_size=6), values)
def test_stops_as_optuna_does_where_all_evaluate_at_the_same_rows(
    maximize: bool, finished: list[list[float]], values: list[float]
) -> None:
    length = len(values)
    curves = [list(enumerate((one * length)[:length], start=1)) for one in finished]
    ours = list(enumerate(values, start=1))
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for curve in curves:
        study.add_trial(create_trial(value=curve[-1][1], intermediate_values=dict(curve)))
    running = create_trial(state=TrialState.RUNNING, intermediate_values=dict(ours))
    theirs = optuna.pruners.MedianPruner(n_startup_trials=2).prune(study, running)
    trials = [trial(curve) for curve in curves]
    assert sampler(maximize=maximize).is_poor(trial(ours, "running"), trials, 2) == theirs


@pytest.mark.parametrize(("rows", "poor"), [(90, False), (100, True), (250, True)])
def test_other_batch_sizes_are_compared_at_what_they_had(rows: int, poor: bool) -> None:
    trials = [trial([(100, 0.7), (200, 0.8)]), trial([(100, 0.7), (300, 0.9)])]
    assert sampler().is_poor(trial([(rows, 0.6)], "running"), trials, 1) == poor


def test_nothing_is_stopped_before_enough_have_finished() -> None:
    trials = [trial([(1, 0.1)])] * 3
    poor = trial([(1, 0.9)], "running")
    assert sampler(maximize=False).is_poor(poor, trials, 3)
    assert not sampler(maximize=False).is_poor(poor, trials, 4)
    assert not sampler(maximize=False).is_poor(trial([], "running"), trials, 1)
