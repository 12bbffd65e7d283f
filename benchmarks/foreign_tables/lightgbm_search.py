"""LightGBM, tuned on the validation split: a random search with early stopping, for each label."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from benchmarks.foreign_tables.tables import Foreign

_MAX_TREES, _PATIENCE = 2_000, 50


class Tuned(NamedTuple):
    """Test AUC by label, and the seconds of the search."""

    auc: Mapping[str, float]
    seconds: float


def tuned_lightgbm(table: Foreign, trials: int, seed: int) -> Tuned:
    """Search for each label; texts are categories, and unknown or missing ones are missing."""
    start = time.perf_counter()
    columns = {split: columns_of(table, split) for split in ("train", "val", "test")}
    auc = {}
    for label in table.labels:
        rows = {split: labeled(table, split, label) for split in columns}
        data = {split: (columns[split][keep], y) for split, (keep, y) in rows.items()}
        auc[label] = _search(data, _categories(table), trials, seed)
    return Tuned(auc, time.perf_counter() - start)


def _search(
    data: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    categories: list[int],
    trials: int,
    seed: int,
) -> float:
    """Return the test AUC of the trial with the best validation AUC."""
    draw = np.random.default_rng(seed)
    shared = {"verbosity": -1, "feature_pre_filter": False, "num_threads": 1}
    train = lightgbm.Dataset(
        *data["train"],
        categorical_feature=categories,
        free_raw_data=False,
        params=shared,
    )
    val = lightgbm.Dataset(*data["val"], reference=train, params=shared, free_raw_data=False)
    best = (-1.0, 0.5)
    for trial in range(trials):
        params = {"learning_rate": 0.05} if trial == 0 else drawn(draw)
        params |= {"objective": "binary", "metric": "auc", "seed": seed, **shared}
        booster = lightgbm.train(
            params,
            train,
            num_boost_round=_MAX_TREES,
            valid_sets=[val],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        found = float(booster.best_score["valid_0"]["auc"])
        if found > best[0]:
            best = (found, float(roc_auc_score(data["test"][1], booster.predict(data["test"][0]))))
    return best[1]


def drawn(draw: np.random.Generator) -> dict[str, Any]:
    return {
        "learning_rate": float(np.exp(draw.uniform(np.log(0.03), np.log(0.2)))),
        "num_leaves": int(np.exp(draw.uniform(np.log(4), np.log(128)))),
        "min_data_in_leaf": int(np.exp(draw.uniform(np.log(5), np.log(200)))),
        "feature_fraction": float(draw.uniform(0.3, 1.0)),
        "bagging_fraction": float(draw.uniform(0.5, 1.0)),
        "bagging_freq": 1,
        "lambda_l2": float(np.exp(draw.uniform(np.log(1e-2), np.log(30)))),
        "cat_smooth": float(np.exp(draw.uniform(np.log(1), np.log(100)))),
        "cat_l2": float(np.exp(draw.uniform(np.log(1), np.log(100)))),
    }


def _categories(table: Foreign) -> list[int]:
    texts = [table.frame[name].dtype == pl.String for name in table.features]
    return [i for i, is_text in enumerate(texts) if is_text]


def columns_of(table: Foreign, split: str) -> np.ndarray[Any, Any]:
    """Return the features as numbers; a text is its place among the training split's."""
    train = table.frame.filter(split="train")
    columns = []
    for name in table.features:
        column = table.frame.filter(split=split)[name]
        if column.dtype == pl.String:
            known = train[name].drop_nulls().unique().sort()
            places = pl.int_range(len(known), eager=True)
            column = column.replace_strict(known, places, default=None, return_dtype=pl.Int32)
        columns.append(column.cast(pl.Float64).fill_null(float("nan")).to_numpy())
    return np.stack(columns, axis=1)


def labeled(
    table: Foreign, split: str, label: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return which rows have the label, and its values there."""
    column = table.frame.filter(split=split)[label]
    return column.is_not_null().to_numpy(), column.drop_nulls().to_numpy()
