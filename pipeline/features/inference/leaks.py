"""How well single columns tell a label: AUC, by columns of a sample."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from pipeline.features.inference.profile import Profile

GIVES_AWAY = 0.98
"""AUC of a single column over which it tells the label."""
_FEWEST = 10
"""Rows of each class below which an AUC says nothing."""
_FEW_VALUES = 1_000
"""Numbers with at most so many values are also judged value by value."""


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the probability that a positive row's score is the higher one; ties count half.

    NaN with only one class.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return math.nan
    ranks = pl.Series(scores).rank("average").to_numpy()
    area = ranks[labels.astype(bool)].sum() - positives * (positives + 1) / 2
    return float(area / (positives * negatives))


def column_auc(column: Profile, label: pl.Series) -> float:
    """Return the AUC of a column for a label (0, 1, null), at least .5; .5 where it cannot tell.

    Numbers: of the value, in either direction, of rows that have one, or value by value if there
    are few. Other values, missing ones included: of the mean label of the other half of the rows
    with the same value.
    """
    found = 0.5
    if column.kind in ("whole", "number", "time", "bool"):
        values = column.values.to_physical().cast(pl.Float64)
        known = (values.is_not_null() & values.is_not_nan() & label.is_not_null()).to_numpy()
        found = _either_way(values.to_numpy()[known], label.to_numpy()[known])
    if column.kind in ("list", "other"):
        return found
    if column.kind in ("number", "whole") and column.distinct > _FEW_VALUES:
        keys = column.values.is_null().cast(pl.Int64)
    else:
        keys = column.codes.fill_null(-1)
    return max(found, _by_value(keys, label))


def _either_way(scores: np.ndarray, labels: np.ndarray) -> float:
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < _FEWEST:
        return 0.5
    value = auc(scores, labels)
    return max(value, 1 - value)


def _by_value(keys: pl.Series, label: pl.Series) -> float:
    """AUC of the mean label per value, out of fold: each half by the other, in turn."""
    frame = pl.DataFrame({"key": keys, "label": label.cast(pl.Float64)})
    frame = frame.with_row_index("row").drop_nulls("label")
    frame = frame.with_columns(half=(pl.col("row").hash(seed=1) % 2).cast(pl.Int8))
    if not len(frame):
        return 0.5
    prior = float(frame["label"].mean())  # type: ignore[arg-type]
    sums = frame.group_by("key", "half").agg(
        total=pl.col("label").sum(), count=pl.len().cast(pl.Float64)
    )
    other = sums.with_columns(half=(1 - pl.col("half")).cast(pl.Int8))
    scored = frame.join(other, on=["key", "half"], how="left").with_columns(
        score=(pl.col("total").fill_null(0) + prior) / (pl.col("count").fill_null(0) + 1)
    )
    labels = scored["label"].to_numpy()
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < _FEWEST:
        return 0.5
    return auc(scored["score"].to_numpy(), labels)
