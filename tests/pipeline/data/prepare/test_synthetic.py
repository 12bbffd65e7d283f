"""The planted truth is true, the past is the past, and the rows depend on the seed alone."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.data.prepare import kuairand_features
from pipeline.data.prepare.planted import (
    BLOCK,
    DAY_MS,
    NUM_DAYS,
    START_MS,
    TASKS,
    PlantedTask,
    PlantedWorld,
)
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.data.schema import SPLITS, Schema
from pipeline.io.errors import UserError
from tests.pipeline.data.prepared import feature_columns, raw_ids, read, read_all

ROWS = 2 * BLOCK + 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three blocks in chunks of one, with short bags."""
    out = tmp_path_factory.mktemp("synthetic") / "out"
    prepare_synthetic(out, rows=ROWS, seed=0, max_history=3, blocks_per_chunk=1)
    return out


def test_it_looks_like_kuairand(folder: Path) -> None:
    schema = Schema.load(folder)
    assert set(schema.sparse) <= set(kuairand_features.SPARSE)
    assert {dense.name for dense in schema.dense} <= set(kuairand_features.DENSE)
    plain = [label.model_copy(update={"oracle": None}) for label in schema.labels]
    assert plain == [label for label in kuairand_features.LABELS if label.default]


def test_eight_days_train_one_validates_one_tests(folder: Path) -> None:
    schema = Schema.load(folder)
    days = {split: {f.split("-")[1] for f in schema.splits[split].files} for split in SPLITS}
    assert {split: len(of_split) for split, of_split in days.items()} == {
        "train": 8,
        "val": 1,
        "test": 1,
    }
    assert max(days["train"]) < min(days["val"]) < min(days["test"])
    rows = [schema.splits[split].rows for split in SPLITS]
    assert rows == pytest.approx([0.8 * ROWS, 0.1 * ROWS, 0.1 * ROWS], abs=1)
    assert sum(rows) == ROWS


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_oracle_is_calibrated_and_tells_rows_apart(folder: Path, task: PlantedTask) -> None:
    label = next(x for x in Schema.load(folder).labels if x.name == task.name)
    table = read_all(folder)
    assert label.oracle is not None
    truth, happened = table[label.oracle].to_numpy(), table[label.column].to_numpy()
    noise = np.sqrt((truth * (1 - truth)).sum()) / len(truth)
    assert abs(truth.mean() - happened.mean()) < 4 * noise
    assert truth.mean() == pytest.approx(task.rate, rel=0.05)
    assert roc_auc_score(happened, truth) > 0.7
    # Calibrated in each tenth of the rows, too.
    for rows in np.array_split(np.argsort(truth), 10):
        expected = truth[rows].sum()
        assert abs(happened[rows].sum() - expected) < 5 * np.sqrt(expected) + 1


def test_the_seed_decides_all(folder: Path, tmp_path: Path) -> None:
    for out, seed in (("same", 0), ("other", 1)):
        prepare_synthetic(tmp_path / out, rows=ROWS, seed=seed, max_history=3, blocks_per_chunk=1)
    for file in folder.rglob("*.*"):
        same = (tmp_path / "same" / file.relative_to(folder)).read_bytes()
        assert file.read_bytes() == same, file
    assert not read(folder, "val").equals(read(tmp_path / "other", "val"))


def test_rows_do_not_depend_on_the_chunks(folder: Path, tmp_path: Path) -> None:
    prepare_synthetic(tmp_path / "out", rows=ROWS, seed=0, max_history=3, blocks_per_chunk=3)
    assert read_all(folder).equals(read_all(tmp_path / "out"))


def test_bags_and_counts_are_of_earlier_rows(folder: Path) -> None:
    table = read_all(folder)
    schema = Schema.load(folder)
    wanted = [
        "user_id", "video_id", "author_id", "is_click", "is_like", "hist_click_video",
        "hist_like_author", "log_past_impressions", "log_past_clicks",
    ]  # fmt: skip
    rows: dict[int, int] = defaultdict(int)
    clicks: dict[int, list[int]] = defaultdict(list)  # videos, by user
    likes: dict[int, list[int]] = defaultdict(list)  # authors
    for row in table.select(wanted).iter_rows(named=True):
        user = row["user_id"]
        assert row["hist_click_video"] == clicks[user][:-4:-1]
        assert row["hist_like_author"] == likes[user][:-4:-1]
        assert round(np.expm1(row["log_past_impressions"])) == rows[user]
        assert round(np.expm1(row["log_past_clicks"])) == len(clicks[user])
        rows[user] += 1
        clicks[user] += [row["video_id"]] * round(row["is_click"])
        likes[user] += [row["author_id"]] * round(row["is_like"])
    first = table["log_past_impressions"] == 0
    assert (table["log_seconds_since_last"].is_null() == first).all()
    assert table["hist_click_video"].list.len().max() == 3
    assert table.select(feature_columns(schema)).width == table.width - 2 * len(TASKS)


def test_time_goes_forward_within_its_days() -> None:
    world = PlantedWorld(seed=0, num_rows=100_000, num_users=50, num_videos=50)
    time_ms = np.concatenate([world.times(block) for block in range(world.num_blocks)])
    assert (np.diff(time_ms) > 0).all()
    rows_of_day = np.bincount((time_ms - START_MS) // DAY_MS)
    assert rows_of_day.tolist() == [10_000] * NUM_DAYS


def test_ids_that_train_does_not_know_are_hashed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    schema = prepare_synthetic(
        out, rows=3_000, seed=0, num_users=2_000, num_videos=500, min_count=3
    )
    counts = read(out, "train")["user_id"].value_counts()
    known = counts.filter(pl.col("user_id") < schema.table("user_id").vocab_size)
    assert set(known["user_id"]) == set(raw_ids(out, "user_id"))
    assert known["count"].min() == 3
    assert counts.filter(~pl.col("user_id").is_in(known["user_id"]))["count"].max() == 2
    assert read(out, "test")["user_id"].max() > 2**40  # type: ignore[operator]


def test_few_rows_and_one_user_are_enough(tmp_path: Path) -> None:
    schema = prepare_synthetic(tmp_path / "out", rows=100, seed=0, num_users=1, num_videos=1)
    assert [schema.splits[split].rows for split in SPLITS] == [80, 10, 10]


@pytest.mark.parametrize(
    ("option", "value"),
    [("rows", 99), ("rows", -5), ("seed", -1), ("num_users", 0), ("max_history", 0)],
)
def test_options_that_make_no_sense_are_rejected(tmp_path: Path, option: str, value: int) -> None:
    options: dict[str, Any] = {"rows": 1_000, "seed": 0} | {option: value}
    with pytest.raises(UserError, match=f"{option}: {value} must be at least"):
        prepare_synthetic(tmp_path / "out", **options)
    assert not any(tmp_path.iterdir())


def test_preparing_data_needs_no_torch() -> None:
    code = (
        "import sys, pipeline.data.prepare.kuairand, pipeline.data.prepare.synthetic\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "False"
