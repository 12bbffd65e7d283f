"""AUC of single columns: against scikit-learn, and for columns of each kind."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipeline.features.inference.leaks import GIVES_AWAY, auc, column_aucs
from pipeline.features.inference.profile import profile


@given(st.lists(st.integers(-3, 3), min_size=10), st.lists(st.integers(-3, 3), min_size=10))
def test_auc_is_that_of_scikit_learn(positive: list[int], negative: list[int]) -> None:
    scores = pl.Series([*positive, *negative])
    ones = pl.Series([1] * len(positive) + [0] * len(negative))
    assert auc(scores, ones, 1 - ones) == pytest.approx(roc_auc_score(ones, scores))


def _auc(values: pl.Series, label: pl.Series) -> float:
    (found,) = column_aucs(profile(values.alias("x")), [label])
    return found


def _label(rows: int = 4_000) -> pl.Series:
    return pl.Series("y", np.random.default_rng(0).integers(0, 2, rows))


def test_columns_that_give_the_label_away() -> None:
    label = _label()
    noise = pl.Series(np.random.default_rng(1).normal(size=len(label)))
    for values in (
        label,
        -label + 0.01 * noise,
        label.replace_strict({0: "lost", 1: "won"}, return_dtype=pl.String),
        pl.select(pl.when(label == 1).then(noise)).to_series(),  # missing tells it
        pl.select(
            pl.when(label == 1).then(pl.lit(5)).otherwise((noise > 0).cast(pl.Int8) * 9)
        ).to_series(),
    ):
        assert _auc(values, label) > GIVES_AWAY


def test_noise_and_ids_do_not() -> None:
    label = _label()
    random = np.random.default_rng(2)
    for values in (
        pl.Series(random.normal(size=len(label))),
        pl.Series(random.integers(0, 1_000, len(label))),
        pl.Series(np.arange(len(label))).cast(pl.String),
        pl.Series(random.integers(0, 1_000, len(label))).cast(pl.String),
    ):
        assert _auc(values, label) < 0.6


def test_a_class_of_few_rows_says_nothing() -> None:
    label = pl.Series("y", [1] * 5 + [0] * 500)
    assert _auc(label, label) == 0.5


def test_each_label_has_its_own() -> None:
    label = _label()
    other = label.shuffle(seed=3)
    assert column_aucs(profile(label.alias("x")), [other, label])[1] == 1.0
    assert column_aucs(profile(label.alias("x")), [other, label])[0] < 0.6
