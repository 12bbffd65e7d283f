"""Adds LightGBM to a rolling study: the same rows, origins and target encodings, tuned per task.

    pip install --no-deps -r requirements/benchmarks.txt
    OMP_NUM_THREADS=1 python -m benchmarks.rolling runs/rolling --trials 8

It takes the study's numbers (statistics of earlier days among them) and its ids with few values as
categories, not histories. Each task has a model of its own, tuned at the study's first origin by
AUC on the day after training, with as many trials as a tower or --trials, and stopped early there
at every origin. A line a task and metric: every tower minus LightGBM, with the study's errors.
Predictions are kept in the study's folder, so it may be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from benchmarks.foreign_tables.lightgbm_search import drawn
from pipeline.config.tree import Config
from pipeline.data.schema import SPLIT, Schema
from pipeline.experiments.rolling.comparison import compare_towers
from pipeline.experiments.rolling.file_types import load_rolling
from pipeline.experiments.rolling.findings import interval, p_text
from pipeline.experiments.rolling.predictions import MISSING, Predictions
from pipeline.experiments.rolling.scored import Cell
from pipeline.experiments.study_findings import plain, signed
from pipeline.io.files import write_json
from pipeline.training.resolve_features import resolve_features

NAME = "lightgbm"
_MAX_TREES, _PATIENCE, _MAX_CATEGORIES = 2_000, 50, 300
_SHARED = {"objective": "binary", "metric": "auc", "verbosity": -1, "num_threads": 1}
Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""Columns [N, F], labels [N, T] (NaN: missing)."""


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished rolling study")
    parser.add_argument(
        "--trials",
        type=int,
        help="trials per task (default: as a tower's); fixed by the first call",
    )
    args = parser.parse_args(words)
    study = load_rolling(args.study)
    kept = _kept(args.study / NAME / "params.json")
    trials = args.trials or (kept or study["options"])["trials"]
    if kept is not None and trials != kept["trials"]:
        parser.error(
            f"--trials {trials}: LightGBM was tuned there with {kept['trials']}; omit it, or "
            f"remove {args.study / NAME} to start again"
        )
    for origin in [one["origin"] for one in study["origins"]]:
        run_origin(args.study, study, origin, trials)
    sys.stdout.write("".join(lines(args.study, study)))
    return 0


def run_origin(out: Path, study: Mapping[str, Any], origin: str, trials: int) -> None:
    """Train every task and seed at an origin, unless its predictions are there."""
    first = study["origins"][0]["origin"]
    missing = [seed for seed in study["seeds"] if not (folder_of(out, origin, seed)).is_dir()]
    if not missing:
        return
    tower = next(iter(study["towers"].values()))["folder"]
    like = out / tower / origin / f"seed-{study['seeds'][0]}"
    splits, categories = read_origin(out / "data" / origin, Config.load(like / "config.json"))
    params = _params(out / NAME / "params.json", study, splits, categories, trials, origin == first)
    rows = Predictions.load(like)
    labels_NT = np.nan_to_num(splits["test"][1], nan=MISSING).astype(np.int8)
    assert np.array_equal(labels_NT, rows.labels_NT), "test rows in the order of the runs"
    for seed in missing:
        logits = [
            fit(splits, task, {**params[name], "seed": seed}, categories)[1]
            for task, name in enumerate(study["tasks"])
        ]
        made = Predictions(
            logits_NT=np.stack(logits, axis=1).astype(np.float32),
            labels_NT=labels_NT,
            users_N=rows.users_N,
        )
        partial = folder_of(out, origin, seed).with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        made.save(partial)
        partial.rename(folder_of(out, origin, seed))


def folder_of(out: Path, origin: str, seed: int) -> Path:
    return out / NAME / origin / f"seed-{seed}"


def read_origin(folder: Path, config: Config) -> tuple[dict[SPLIT, Split], list[int]]:
    """Return columns and labels of each split, and the places of the columns that are categories:
    the numbers of a run's configuration, and its ids of at most 300 values."""
    schema = Schema.load(folder)
    chosen = resolve_features(config, schema)
    numbers = [one.column for one in chosen.schema.dense]
    ids = [
        one.column
        for one in chosen.features
        if not one.multi and schema.table(one.table).vocab_size <= _MAX_CATEGORIES
    ]
    labels = [label.column for label in chosen.labels]
    found: dict[SPLIT, Split] = {}
    for split, listed in schema.splits.items():
        table = pl.concat(
            pl.read_parquet(folder / file, columns=[*numbers, *ids, *labels])
            for file in listed.files
        )
        limits = {
            name: schema.table(name).vocab_size for name in {one.table for one in schema.sparse}
        }
        tables = {one.column: one.table for one in schema.sparse}
        known = [
            pl.when(pl.col(name) < limits[tables[name]]).then(pl.col(name)).alias(name)
            for name in ids
        ]
        columns = table.select(*numbers, *known).cast(pl.Float32).to_numpy()
        found[split] = columns, table.select(labels).cast(pl.Float32).to_numpy()
    return found, list(range(len(numbers), len(numbers) + len(ids)))


def _params(
    file: Path,
    study: Mapping[str, Any],
    splits: Mapping[SPLIT, Split],
    categories: list[int],
    trials: int,
    is_first: bool,
) -> dict[str, dict[str, Any]]:
    """Return the parameters of each task, tuned at the first origin."""
    if (kept := _kept(file)) is not None:
        params: dict[str, dict[str, Any]] = kept["params"]
        return params
    assert is_first, f"{file} is gone"
    found = {}
    for task, name in enumerate(study["tasks"]):
        draw = np.random.default_rng(0)
        tried = [{"learning_rate": 0.05}, *(drawn(draw) for _ in range(trials - 1))]
        values = [fit(splits, task, {**one, "seed": 0}, categories)[0] for one in tried]
        found[name] = tried[int(np.argmax(values))]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"trials": trials, "params": found})
    return found


def _kept(file: Path) -> dict[str, Any] | None:
    """Return the number of trials and the parameters by task; None before tuning."""
    found: dict[str, Any] | None = None
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
    return found


def fit(
    splits: Mapping[SPLIT, Split], task: int, params: Mapping[str, Any], categories: list[int]
) -> tuple[float, np.ndarray[Any, Any]]:
    """Train one task; returns AUC on the validation day, and the logits of the test rows."""
    data: dict[SPLIT, Any] = {}
    names: tuple[SPLIT, ...] = ("train", "val")
    for split in names:
        columns, labels = splits[split]
        keep = ~np.isnan(labels[:, task])
        data[split] = lightgbm.Dataset(
            columns[keep],
            labels[keep, task],
            categorical_feature=categories,
            reference=data.get("train"),
            params={"verbosity": -1, "num_threads": 1},
        )
    booster = lightgbm.train(
        {**_SHARED, **params},
        data["train"],
        num_boost_round=_MAX_TREES,
        valid_sets=[data["val"]],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    logits = booster.predict(splits["test"][0], raw_score=True)
    return float(booster.best_score["valid_0"]["auc"]), np.asarray(logits)


def lines(out: Path, study: Mapping[str, Any]) -> list[str]:
    """Return a table of every tower minus LightGBM."""
    predictions: dict[str, dict[Cell, Predictions]] = {}
    for run in study["runs"]:
        if run["status"] == "done":
            of_tower = predictions.setdefault(run["tower"], {})
            of_tower[run["origin"], run["seed"]] = Predictions.load(out / run["folder"])
    predictions[NAME] = {
        (one["origin"], seed): Predictions.load(folder_of(out, one["origin"], seed))
        for one in study["origins"]
        for seed in study["seeds"]
    }
    summary = compare_towers(predictions, study["tasks"])
    towers = [tower for tower in predictions if tower != NAME]
    found = [f"| task | metric | LightGBM | {' | '.join(towers)} |\n"]
    found += ["|---|---|---|" + "---|" * len(towers) + "\n"]
    for metric, of_task in summary.items():
        for task, one in of_task.items():
            cells = [_cell(one["towers"][tower]) for tower in towers]
            mean = plain(one["towers"][NAME]["mean"])
            found.append(f"| {task} | {metric.upper()} | {mean} | {' | '.join(cells)} |\n")
    return found


def _cell(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return "-"
    one = row["rivals"][NAME]
    return f"{signed(one['mean'])} ({interval(one)}), p {p_text(one)}: {one['conclusion']}"


if __name__ == "__main__":
    sys.exit(main())
