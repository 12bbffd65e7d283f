"""A study in its file: what it draws, what it keeps, how it opens again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launchers.study import JOURNAL, Study
from pipeline.errors import UserError
from pipeline.search_space import Choice, Range

SEARCHES = [
    Range(field="dense.lr", low=1e-4, high=1e-2, log=True),
    Range(field="model.tower.expert_dim", low=32, high=128, step=32),
    Choice(field="train.batch_size", values=("128", "256")),
]


def open_study(folder: Path, **other: Any) -> Study:
    folder.mkdir(exist_ok=True)
    settings = {"maximise": True, "seed": 7, "startup": None, **other}
    return Study(folder, settings.pop("searches", SEARCHES), **settings)


def run_one(study: Study) -> dict[str, Any]:
    asked = study.ask()
    study.report(asked.number, 100, -abs(float(asked.params["dense.lr"]) - 2e-3))
    study.end(asked.number, "complete", error=None)
    return dict(asked.params)


def test_a_study_that_goes_on_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    undisturbed = open_study(tmp_path / "one")
    expected = [run_one(undisturbed) for _ in range(14)]  # random ones, then by the model
    drawn = []
    for count in (5, 7, 2):
        study = open_study(tmp_path / "parts")
        drawn += [run_one(study) for _ in range(count)]
    assert drawn == expected
    assert run_one(open_study(tmp_path / "other", seed=8)) != expected[0]
    assert len({str(params) for params in expected}) == len(expected)


def test_what_was_under_way_is_so_still(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    first, second = study.ask(), study.ask()
    study.report(first.number, 100, 0.5)
    study.end(second.number, "failed", error="why")
    assert open_study(tmp_path).unfinished() == [first]
    again = open_study(tmp_path)
    (asked,) = again.unfinished()
    for rows, figure in ((100, 0.5), (200, 0.4)):  # its run tells all of its log again
        again.report(asked.number, rows, figure)
    again.end(asked.number, "complete", error=None)
    assert open_study(tmp_path).unfinished() == []
    complete, failed = again.records()
    assert (complete["state"], complete["value"]) == ("complete", 0.5)
    assert complete["evaluations"] == [[100, 0.5], [200, 0.4]]
    assert (failed["state"], failed["value"], failed["error"]) == ("failed", None, "why")
    assert again.best() == (0, 0.5)


def test_a_lower_loss_is_better(tmp_path: Path) -> None:
    study = open_study(tmp_path, maximise=False)
    for figures in ([0.9, 0.7, 0.8], [0.75]):
        number = study.ask().number
        for rows, figure in enumerate(figures):
            study.report(number, rows, figure)
        study.end(number, "complete", error=None)
    assert study.best() == (0, 0.7)


def test_a_poor_trial_is_told(tmp_path: Path) -> None:
    study = open_study(tmp_path, startup=1)
    run_one(study)
    number = study.ask().number
    assert study.report(number, 100, -1.0)
    again = open_study(tmp_path, startup=1)
    assert [asked.number for asked in again.unfinished()] == [number]
    assert not again.report(number, 100, -1.0)  # judged already, before the interruption
    assert not again.report(number, 200, 1.0)
    never = open_study(tmp_path / "never", startup=None)
    run_one(never)
    assert not never.report(never.ask().number, 100, -1.0)


def test_the_same_values_are_run_once(tmp_path: Path) -> None:
    study = open_study(tmp_path, searches=[Choice(field="train.batch_size", values=("1", "2"))])
    runs = []
    for _ in range(8):
        asked = study.ask()
        if study.repeat(asked) is None:
            runs.append(asked.params)
            study.report(asked.number, 10, float(asked.params["train.batch_size"]))
            study.end(asked.number, "complete", error=None)
    assert len(runs) == 2
    for record in study.records():
        assert record["state"] == "complete"
        assert record["value"] == float(record["params"]["train.batch_size"])


def test_a_failed_trial_is_tried_again(tmp_path: Path) -> None:
    study = open_study(tmp_path, searches=[Choice(field="train.batch_size", values=("1",))])
    study.end(study.ask().number, "failed", error="disk full")
    assert study.repeat(study.ask()) is None


def test_the_field_that_matters_weighs_most(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    assert study.importance() == {}
    for _ in range(12):
        run_one(study)
    weights = study.importance()
    assert max(weights, key=lambda field: weights[field]) == "dense.lr"
    assert sum(weights.values()) == pytest.approx(1)


def test_a_kill_in_the_middle_of_a_line_costs_that_line(tmp_path: Path) -> None:
    run_one(open_study(tmp_path))
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code":4,"wor')
    (tmp_path / f"{JOURNAL}.lock").symlink_to(JOURNAL)  # as Optuna's lock is while it writes
    study = open_study(tmp_path)
    run_one(study)
    assert [record["state"] for record in open_study(tmp_path).records()] == ["complete"] * 2


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    run_one(open_study(tmp_path))
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write("{]\n")
    with pytest.raises(UserError, match=r"journal.log: line \d+ is damaged"):
        open_study(tmp_path)
