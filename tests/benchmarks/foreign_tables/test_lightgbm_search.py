"""LightGBM sees the rows, columns and labels that homerec sees."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from benchmarks.foreign_tables.tables import Foreign

pytest.importorskip("lightgbm", reason="needs requirements/benchmarks.txt")
from benchmarks.foreign_tables.lightgbm_search import columns_of, labeled, tuned_lightgbm


def table() -> Foreign:
    frame = pl.DataFrame(
        {
            "place": ["b", "a", None, "c"],
            "age": [1, None, 3, 4],
            "y": [0, 1, None, 1],
            "split": ["train", "train", "train", "test"],
        }
    )
    return Foreign(("y",), frame)


def test_texts_are_places_in_training_and_unknown_ones_are_missing() -> None:
    nan = math.nan
    np.testing.assert_array_equal(columns_of(table(), "train"), [[1, 1], [0, nan], [nan, 3]])
    np.testing.assert_array_equal(columns_of(table(), "test"), [[nan, 4]])


def test_rows_without_label_are_left_out() -> None:
    keep, values = labeled(table(), "train", "y")
    assert keep.tolist() == [True, True, False]
    assert values.tolist() == [0, 1]


def test_what_separates_the_label_is_found() -> None:
    x = np.random.default_rng(0).random(600)
    frame = pl.DataFrame({"x": x, "y": (x > 0.5).astype(np.int8)})
    frame = frame.with_columns(split=pl.Series(["train", "val", "test"] * 200))
    assert tuned_lightgbm(Foreign(("y",), frame), 1, seed=0).auc["y"] > 0.99
