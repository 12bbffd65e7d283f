"""LightGBM is trained on the rows of each origin, and compared in the same cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.config.overrides import resolve
from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.data.schema import Schema
from pipeline.experiments.rolling.predictions import MISSING, Predictions
from pipeline.io.files import write_json
from tests.pipeline.data.prepare.small_kuairand import DAYS, make_log, write_raw
from tests.pipeline.data.prepared import read
from tests.pipeline.experiments.rolling.studies import rolling_study

pytest.importorskip("lightgbm", reason="needs requirements/benchmarks.txt")
from benchmarks.rolling.__main__ import folder_of, lines, main, read_origin, run_origin

ORIGINS = ("2022-05-02", "2022-05-05")
TASKS = ("click", "like")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a study of one tower, whose scores are random, and what LightGBM needs of its
    study.json."""
    out = tmp_path_factory.mktemp("study")
    raw = write_raw(out / "raw", log=make_log(600))
    config = resolve("debug", None, ["--data.tasks", ",".join(TASKS)])
    runs = []
    for val, test, origin in zip(DAYS[2:], DAYS[3:], ORIGINS, strict=False):
        data = out / "data" / origin
        schema = prepare_kuairand(raw, data, val_from=val, test_from=test, until=test)
        assert isinstance(schema, Schema)
        labels = read(data, "test").select("is_click", "is_like").to_numpy()
        folder = f"home/{origin}/seed-0"
        (out / folder).mkdir(parents=True)
        scores = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
        Predictions(
            logits_NT=scores,
            labels_NT=np.nan_to_num(labels, nan=MISSING).astype(np.int8),
            users_N=read(data, "test")["user_id"].to_numpy(),
        ).save(out / folder)
        config.save(out / folder / "config.json")
        runs.append({"tower": "home", "origin": origin, "seed": 0, "folder": folder})
    return out, {
        "tasks": list(TASKS),
        "seeds": [0],
        "origins": [{"origin": origin} for origin in ORIGINS],
        "towers": {"home": {"folder": "home"}},
        "runs": [{**run, "status": "done"} for run in runs],
    }


def test_it_sees_the_numbers_of_the_run_and_small_ids_as_categories(
    study: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = study
    data = out / "data" / ORIGINS[0]
    config = resolve("debug", None, ["--data.exclude", "stat_video*,hour"])
    splits, categories = read_origin(data, config)
    names = [one.column for one in Schema.load(data).dense if "stat_video" not in one.name]
    rows = read(data, "train")
    columns, labels = splits["train"]
    assert np.array_equal(columns[:, : len(names)], rows.select(names).to_numpy(), equal_nan=True)
    assert categories == list(range(len(names), columns.shape[1]))
    assert labels.shape == (len(rows), 6)
    tab = rows["tab"].cast(pl.Float32)
    assert any(np.array_equal(columns[:, place], tab) for place in categories)
    hour = rows["hour"].cast(pl.Float32)
    assert not any(np.array_equal(columns[:, place], hour) for place in categories)


def test_it_is_compared_at_every_origin_and_kept(study: tuple[Path, dict[str, Any]]) -> None:
    out, of = study
    for _ in range(2):
        for origin in ORIGINS:
            run_origin(out, of, origin, 2)
        found = [Predictions.load(folder_of(out, origin, 0)).logits_NT for origin in ORIGINS]
    heading, _, *rows = lines(out, of)
    assert heading == "| task | metric | LightGBM | home |\n"
    assert len(rows) == 2 * len(TASKS)
    assert rows[0].startswith("| click | AUC | 0.")
    assert all(np.isfinite(one).all() for one in found)


def test_another_number_of_trials_than_before_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "study.json", rolling_study())
    (tmp_path / "lightgbm").mkdir()
    write_json(tmp_path / "lightgbm" / "params.json", {"trials": 3, "params": {}})
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--trials", "5"])
    assert "--trials 5: LightGBM was tuned there with 3" in capsys.readouterr().err
