"""Watch time as a label with limits: trained on a table, resumed, evaluated, predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.api import Model, Recipe
from pipeline.config.overrides import configure
from pipeline.features.expected_value import expected_value
from pipeline.ranks.world import open_world
from pipeline.train import train

LIMITS = (2.0, 5.0, 10.0, 20.0)
TASKS = [f"watch_{limit:g}" for limit in LIMITS]
TEXT = """
data:
  source: {path: table.parquet}
  split: {by: random}
  user: user
  labels:
    watch: {column: seconds, category: time, limits: [2, 5, 10, 20]}
    like: {category: action}
features:
  user: {type: id, group: user}
  video: {type: id, group: item}
"""
FIELDS = {"train.epochs": 6, "train.batch_size": 128, "embeddings.dim": 8}


def frame(rows: int = 4000) -> pl.DataFrame:
    """Some videos hold users for long, in some rows unknown for how long."""
    generator = np.random.default_rng(0)
    video = generator.integers(0, 8, rows)
    seconds = generator.exponential(1 + 2.0 * video)
    return pl.DataFrame(
        {
            "user": generator.integers(0, 50, rows),
            "video": video,
            "seconds": np.where(generator.random(rows) < 0.05, np.nan, seconds),
            "like": generator.random(rows) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    recipe = Recipe.from_yaml(TEXT).set(**FIELDS)
    return recipe.fit(frame(), tmp_path_factory.mktemp("times") / "run")


def test_every_limit_is_evaluated(model: Model) -> None:
    results = model.evaluate("test")
    assert {*results} == {*TASKS, "like", "watch"}
    watch = results["watch"]
    assert watch["rows"] == results["watch_5"]["rows"]
    assert watch["expected"] == pytest.approx(watch["observed"], rel=0.15)
    assert 0 < watch["mae"] < watch["rmse"] < LIMITS[-1]  # type: ignore[operator]
    for task in TASKS:
        auc = results[task]["auc"]
        assert auc is not None
        assert auc > 0.6
        assert results[task]["calibration"] == pytest.approx(1, abs=0.3)
    assert results["like"]["rows"] != results["watch_5"]["rows"]  # missing times are masked


def test_times_are_predicted(model: Model) -> None:
    rows = frame().drop("seconds")
    found = model.predict(rows)
    assert found.columns == [*TASKS, "like", "watch"]
    chances = found.select(TASKS).to_numpy()
    np.testing.assert_allclose(found["watch"], expected_value(chances, LIMITS), rtol=1e-6)
    mean = 1 + 2.0 * rows["video"].to_numpy()
    truth = mean * (1 - np.exp(-LIMITS[-1] / mean))  # of what is cut at the last limit
    error = (found["watch"].to_numpy() - truth).std()
    assert error < 0.5 * truth.std()
    assert found["watch"].mean() == pytest.approx(truth.mean(), rel=0.15)


def test_a_run_goes_on_and_reports(model: Model, tmp_path: Path) -> None:
    words = ["--train.epochs", "7"]
    config, folder = configure(None, None, model.folder, words, resume=True, must_exist=True)
    with open_world() as world:
        assert train(config, folder, world, resume=True) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "watch_20" in page
