"""AUC of single columns: against scikit-learn, and for columns of each kind."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipeline.features.inference.leaks import GIVES_AWAY, auc, column_auc
from pipeline.features.inference.profile import profile


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2))
def test_auc_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, labels = (np.array(one, dtype=float) for one in zip(*rows, strict=True))
    assume(0 < labels.sum() < len(labels))
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


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
        assert column_auc(profile(values.alias("x")), label) > GIVES_AWAY


def test_noise_and_ids_do_not() -> None:
    label = _label()
    random = np.random.default_rng(2)
    for values in (
        pl.Series(random.normal(size=len(label))),
        pl.Series(random.integers(0, 1_000, len(label))),
        pl.Series(np.arange(len(label))).cast(pl.String),
        pl.Series(random.integers(0, 1_000, len(label))).cast(pl.String),
    ):
        assert column_auc(profile(values.alias("x")), label) < 0.6


def test_a_class_of_few_rows_says_nothing() -> None:
    label = pl.Series("y", [1] * 5 + [0] * 500)
    assert column_auc(profile(label.alias("x")), label) == 0.5
