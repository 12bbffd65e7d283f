"""A search of a rolling study: its first trial, and what is run again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.experiments.rolling.tuning import open_search, own_values
from pipeline.experiments.search import Search, Settings, TrialRun
from pipeline.io.errors import UserError

SPACE = ["dense.lr=0.0005:0.5:log", "model.tower.expert_dim=8,16"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    prepare_synthetic(folder, rows=600, seed=3)
    return folder


def base_of(data: Path, width: int = 8) -> Config:
    words = ["--data.path", str(data), "--train.batch_size", "16", "--dense.lr", "0.001"]
    return resolve("debug", None, [*words, "--model.tower.expert_dim", str(width)])


def run_one(search: Search, value: float) -> TrialRun:
    run = search.next_run()
    assert isinstance(run, TrialRun)
    search.evaluated(run, 1, value)
    search.ended(run, "done", None, 1.0)
    return run


@pytest.mark.parametrize("width", [8, 24])
def test_the_value_without_tuning_is_of_a_trial_with_the_values_of_the_recipe(
    width: int, data: Path, tmp_path: Path
) -> None:
    """Whose width may not be in the search space: then there is none, whatever the first has."""
    base = base_of(data, width)
    search = open_search(tmp_path, base, Settings(search=SPACE, trials=2))
    first = run_one(search, 0.6)
    run_one(search, 0.7)
    own = own_values(base, search.dimensions)
    is_own = first.config.model_dump(mode="json") == base.model_dump(mode="json")
    assert is_own == (own is not None) == (width == 8)
    assert search.value_of(own) == (0.6 if is_own else None)


def test_a_search_may_be_moved_with_its_data_and_not_changed(data: Path, tmp_path: Path) -> None:
    settings = Settings(search=SPACE, trials=1)
    run_one(open_search(tmp_path, base_of(data), settings), 0.6)
    moved = shutil.copytree(data, tmp_path / "data")
    assert open_search(tmp_path, base_of(moved), settings).num_ended == 1
    with pytest.raises(UserError, match="a search with other settings"):
        open_search(tmp_path, base_of(moved, width=16), settings)


def test_a_failed_trial_runs_again_if_asked(data: Path, tmp_path: Path) -> None:
    """With its values, and it can be the best."""
    settings = Settings(search=SPACE, trials=3)

    def opened(*, retry_failed: bool) -> Search:
        return open_search(tmp_path, base_of(data), settings, retry_failed=retry_failed)

    search = opened(retry_failed=False)
    first = search.next_run()
    assert isinstance(first, TrialRun)
    search.evaluated(first, 1, 0.5)
    search.ended(first, "failed", "no space left", 2.0)
    others = [run_one(search, value) for value in (0.6, 0.7)]
    search = opened(retry_failed=False)
    assert search.next_run() is None
    assert [one.error for one in search.failed] == ["no space left"]
    search = opened(retry_failed=True)
    assert search.num_ended == len(others)
    assert run_one(search, 0.8) == first
    best = search.best()
    assert best is not None
    assert (best.trial, best.value) == (0, 0.8)
    assert search.next_run() is None
    assert not search.failed
