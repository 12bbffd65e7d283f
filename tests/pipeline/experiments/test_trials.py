"""Trials in their file: what is drawn, what is kept, how they open again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.search_space import OneOf, Range
from pipeline.experiments.trials import JOURNAL, Trials
from pipeline.io.errors import UserError

SEARCHES = [
    Range(field="dense.lr", low=1e-4, high=1e-2, log=True),
    Range(field="model.tower.expert_dim", low=32, high=128, step=32),
    OneOf(field="train.batch_size", values=("128", "256")),
]


def open_trials(folder: Path, **other: Any) -> Trials:
    folder.mkdir(exist_ok=True)
    settings = {"maximise": True, "seed": 7, "startup": None, **other}
    return Trials(folder, settings.pop("searches", SEARCHES), **settings)


def run_one(trials: Trials) -> dict[str, Any]:
    asked = trials.ask()
    trials.report(asked.number, 100, -abs(float(asked.params["dense.lr"]) - 2e-3))
    trials.end(asked.number, "complete", error=None)
    return dict(asked.params)


def test_a_search_that_goes_on_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    undisturbed = open_trials(tmp_path / "one")
    expected = [run_one(undisturbed) for _ in range(14)]  # random ones, then by the model
    drawn = []
    for count in (5, 7, 2):
        trials = open_trials(tmp_path / "parts")
        drawn += [run_one(trials) for _ in range(count)]
    assert drawn == expected
    assert run_one(open_trials(tmp_path / "other", seed=8)) != expected[0]
    assert len({str(params) for params in expected}) == len(expected)


def test_what_was_under_way_is_so_still(tmp_path: Path) -> None:
    trials = open_trials(tmp_path)
    first, second = trials.ask(), trials.ask()
    trials.report(first.number, 100, 0.5)
    trials.end(second.number, "failed", error="why")
    assert open_trials(tmp_path).unfinished() == [first]
    again = open_trials(tmp_path)
    (asked,) = again.unfinished()
    for rows, figure in ((100, 0.5), (200, 0.4)):  # its run tells all of its log again
        again.report(asked.number, rows, figure)
    again.end(asked.number, "complete", error=None)
    assert open_trials(tmp_path).unfinished() == []
    complete, failed = again.records()
    assert (complete["state"], complete["value"]) == ("complete", 0.5)
    assert complete["evaluations"] == [[100, 0.5], [200, 0.4]]
    assert (failed["state"], failed["value"], failed["error"]) == ("failed", None, "why")
    assert again.best() == (0, 0.5)


def test_a_lower_loss_is_better(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, maximise=False)
    for figures in ([0.9, 0.7, 0.8], [0.75]):
        number = trials.ask().number
        for rows, figure in enumerate(figures):
            trials.report(number, rows, figure)
        trials.end(number, "complete", error=None)
    assert trials.best() == (0, 0.7)


def test_a_poor_trial_is_told(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, startup=1)
    run_one(trials)
    number = trials.ask().number
    assert trials.report(number, 100, -1.0)
    again = open_trials(tmp_path, startup=1)
    assert [asked.number for asked in again.unfinished()] == [number]
    assert not again.report(number, 100, -1.0)  # judged already, before the interruption
    assert not again.report(number, 200, 1.0)
    never = open_trials(tmp_path / "never", startup=None)
    run_one(never)
    assert not never.report(never.ask().number, 100, -1.0)


def test_the_same_values_are_run_once(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, searches=[OneOf(field="train.batch_size", values=("1", "2"))])
    runs = []
    for _ in range(8):
        asked = trials.ask()
        if trials.repeat(asked) is None:
            runs.append(asked.params)
            trials.report(asked.number, 10, float(asked.params["train.batch_size"]))
            trials.end(asked.number, "complete", error=None)
    assert len(runs) == 2
    for record in trials.records():
        assert record["state"] == "complete"
        assert record["value"] == float(record["params"]["train.batch_size"])


def test_a_failed_trial_is_tried_again(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, searches=[OneOf(field="train.batch_size", values=("1",))])
    trials.end(trials.ask().number, "failed", error="disk full")
    assert trials.repeat(trials.ask()) is None


def test_the_field_that_matters_weighs_most(tmp_path: Path) -> None:
    trials = open_trials(tmp_path)
    assert trials.importance() == {}
    for _ in range(12):
        run_one(trials)
    weights = trials.importance()
    assert max(weights, key=lambda field: weights[field]) == "dense.lr"
    assert sum(weights.values()) == pytest.approx(1)


def test_a_kill_in_the_middle_of_a_line_costs_that_line(tmp_path: Path) -> None:
    run_one(open_trials(tmp_path))
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code":4,"wor')
    (tmp_path / f"{JOURNAL}.lock").symlink_to(JOURNAL)  # as Optuna's lock is while it writes
    trials = open_trials(tmp_path)
    run_one(trials)
    assert [record["state"] for record in open_trials(tmp_path).records()] == ["complete"] * 2


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    run_one(open_trials(tmp_path))
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write("{]\n")
    with pytest.raises(UserError, match=r"journal.log: line \d+ is damaged"):
        open_trials(tmp_path)
