"""A search in its folder: what is kept, how it resumes, what is not run again. Nothing trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.overrides import resolve
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.experiments.experiment import Skipped
from pipeline.experiments.search import Search, Settings, TrialRun
from pipeline.experiments.search_folder import resume_search, start_search
from pipeline.io.errors import UserError

BATCH = "train.batch_size=16,32"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    prepare_synthetic(folder, rows=600, seed=3)
    return folder


def start(
    out: Path, data: Path, search: str = "dense.lr=1:2", *fields: str, **settings: Any
) -> AbstractContextManager[Search]:
    base = resolve("debug", None, ["--data.path", str(data), "--train.batch_size=16", *fields])
    return start_search(out, base, [], Settings(search=[search], **settings))


def resume(out: Path, **amended: Any) -> AbstractContextManager[Search]:
    return resume_search(out, amended, None, None, [])


def next_run(search: Search) -> TrialRun:
    run = search.next_run()
    assert isinstance(run, TrialRun)
    return run


def run_one(search: Search, values: Sequence[float]) -> None:
    run = next_run(search)
    for step, value in enumerate(values, start=1):
        search.evaluated(run, step, value)
    search.ended(run, "done", None, 1.0)


def save_as_a_run(run: TrialRun) -> None:
    run.folder.mkdir()
    run.config.save(run.folder / "config.json")


def trials(out: Path) -> Any:
    return json.loads((out / "tune.json").read_text(encoding="utf-8"))["trials"]


def test_a_start_that_died_is_started_again(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "search"
    with start(out, data):
        pass
    with pytest.raises(UserError, match="contains a search; pass --resume"), start(out, data):
        pass
    (out / "tune.json").rename(out / ".tune.json.partial")
    with start(out, data):
        assert (out / "tune.json").exists()
    (out / "tune.json").rename(out / "photo.jpg")
    with pytest.raises(UserError, match="not empty and not a search"), start(out, data):
        pass
    assert (out / "photo.jpg").exists()


def test_what_was_under_way_is_so_still(data: Path, tmp_path: Path) -> None:
    with start(tmp_path, data) as search:
        first, second = next_run(search), next_run(search)
        search.evaluated(first, 1, 0.5)
        search.ended(second, "failed", "why", 2.0)
        search.ended(first, "stopped", None, 2.0)
    with pytest.raises(UserError, match="trial 0 was unfinished, but"), resume(tmp_path):
        pass
    save_as_a_run(first)
    with resume(tmp_path, trials=2) as search:
        assert next_run(search) == first
        assert search.next_run() is None
        for step, value in ((1, 0.5), (2, 0.4)):  # its log shows all of its evaluations again
            search.evaluated(first, step, value)
        search.ended(first, "done", None, 1.0)
        assert search.footer == "best 0.5000 (trial 0)"
    complete, failed = trials(tmp_path)
    assert (complete["state"], complete["value"], complete["seconds"]) == ("complete", 0.5, 3.0)
    rows = first.config.train.batch_size
    assert complete["evaluations"] == [[rows, 0.5], [2 * rows, 0.4]]
    assert (failed["state"], failed["value"], failed["error"]) == ("failed", None, "why")
    with resume(tmp_path) as search:
        assert search.next_run() is None  # two trials, as it was told last
    with resume(tmp_path, trials=3) as search:
        assert next_run(search).number == 2


def test_a_lower_loss_is_better(data: Path, tmp_path: Path) -> None:
    with start(tmp_path, data, "dense.lr=1:2", "--train.select", "mean/ne") as search:
        run_one(search, [0.9, 0.7, 0.8])
        run_one(search, [0.75])
        assert search.footer == "best 0.7000 (trial 0)"


def test_a_poor_trial_is_judged_once(data: Path, tmp_path: Path) -> None:
    with start(tmp_path, data, startup=1) as search:
        run_one(search, [0.5])
        run = next_run(search)
        assert search.evaluated(run, 1, 0.1)
    save_as_a_run(run)
    with resume(tmp_path) as search:
        assert next_run(search) == run
        assert not search.evaluated(run, 1, 0.1)
        assert not search.evaluated(run, run.steps, 0.1)  # done but for its end
        assert search.evaluated(run, 2, 0.2)
    with resume(tmp_path, pruner="none") as search:
        assert not search.evaluated(next_run(search), 3, 0.1)


def test_the_same_values_are_run_once_unless_they_failed(data: Path, tmp_path: Path) -> None:
    with start(tmp_path, data, BATCH, trials=8) as search:
        failed = next_run(search)
        search.ended(failed, "failed", "disk full", 1.0)
        runs = []
        while run := search.next_run():
            if isinstance(run, Skipped):
                assert "same values as" in run.text
                continue
            runs.append(run.config.train.batch_size)
            search.evaluated(run, 1, float(runs[-1]))
            search.ended(run, "done", None, 1.0)
    assert sorted(runs) == [16, 32]
    for trial in trials(tmp_path)[1:]:
        assert trial["state"] == "complete"
        assert trial["value"] == float(trial["params"]["train.batch_size"])


def test_a_trial_without_a_value_fails(data: Path, tmp_path: Path) -> None:
    with start(tmp_path, data) as search:
        search.ended(next_run(search), "done", None, 1.0)
    (trial,) = trials(tmp_path)
    assert trial["error"] == "no finite mean/auc on validation rows"


@pytest.mark.parametrize(
    ("amended", "reason"),
    [
        ({"search": ["dense.lr=1:3"]}, "was started with --search dense.lr=1:2"),
        ({"seed": 5}, "was started with --seed 0"),
    ],
)
def test_trials_of_a_search_are_of_one_kind(
    data: Path, tmp_path: Path, amended: dict[str, Any], reason: str
) -> None:
    with start(tmp_path, data):
        pass
    with pytest.raises(UserError, match=reason), resume(tmp_path, **amended):
        pass
    with (
        pytest.raises(UserError, match=r"trials had other values than --dense\.lr=3"),
        resume_search(tmp_path, {}, None, None, ["--dense.lr=3"]),
    ):
        pass


def test_a_search_has_one_writer(data: Path, tmp_path: Path) -> None:
    with (
        start(tmp_path, data),
        pytest.raises(UserError, match="a search is running there"),
        resume(tmp_path),
    ):
        pass
