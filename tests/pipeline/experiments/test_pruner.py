"""The median rule: Optuna's own where trials evaluate alike, and sound where they do not."""

from __future__ import annotations

from typing import Literal, get_args

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from pipeline.experiments.pruner import MedianByRows

Direction = Literal["maximize", "minimize"]
figures = st.lists(st.floats(0, 1), min_size=1, max_size=5)


def study_of(direction: Direction, curves: list[dict[int, float]]) -> optuna.Study:
    study = optuna.create_study(direction=direction)
    for curve in curves:
        last = curve[max(curve)]
        study.add_trial(create_trial(value=last, intermediate_values=curve))
    return study


@given(st.sampled_from(get_args(Direction)), st.lists(figures, max_size=6), figures, st.just(2))
def test_equals_optunas_where_all_evaluate_at_the_same_rows(
    direction: Direction, finished: list[list[float]], own: list[float], startup: int
) -> None:
    length = len(own)
    curves = [dict(enumerate((one * length)[:length], start=1)) for one in finished]
    study = study_of(direction, curves)
    values = dict(enumerate(own, start=1))
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=values)
    theirs = optuna.pruners.MedianPruner(n_startup_trials=startup)
    assert MedianByRows(startup).prune(study, trial) == theirs.prune(study, trial)


@pytest.mark.parametrize(("rows", "poor"), [(90, False), (100, True), (250, True)])
def test_other_batch_sizes_are_compared_at_what_they_had(rows: int, poor: bool) -> None:
    study = study_of("maximize", [{100: 0.7, 200: 0.8}, {100: 0.7, 300: 0.9}])
    trial = create_trial(state=TrialState.RUNNING, intermediate_values={rows: 0.6})
    assert MedianByRows(1).prune(study, trial) == poor


def test_nothing_is_stopped_before_enough_have_finished() -> None:
    study = study_of("minimize", [{1: 0.1}] * 3)
    trial = create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.9})
    assert MedianByRows(3).prune(study, trial)
    assert not MedianByRows(4).prune(study, trial)
    assert not MedianByRows(1).prune(study, create_trial(state=TrialState.RUNNING))
