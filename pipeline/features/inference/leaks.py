"""How well single columns tell a label: AUC, by columns of a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline.features.inference.profile import Profile

GIVES_AWAY = 0.98
"""AUC of a single column over which it tells the label."""
_FEWEST = 10
"""Rows of each class below which an AUC says nothing."""
_FEW_VALUES = 1_000
"""Numbers with at most so many values are also judged value by value."""
_NUMBERS = ("whole", "number", "time", "bool")


def auc(scores: pl.Series, positives: pl.Series, negatives: pl.Series) -> float:
    """Return the probability that a positive row's score is the higher one; ties count half.

    Each score stands for so many positive and negative rows. .5 where a class has few.
    """
    if min(_sum(positives), _sum(negatives)) < _FEWEST:
        return 0.5
    ordered = (
        pl.DataFrame({"score": scores, "one": positives, "zero": negatives})
        .group_by("score")
        .agg(pl.col("one", "zero").sum().cast(pl.Float64))
        .sort("score")
    )
    one, zero = ordered["one"], ordered["zero"]
    below = zero.cum_sum() - zero
    return _sum(one * (below + zero / 2)) / (_sum(one) * _sum(zero))


def _sum(numbers: pl.Series) -> float:
    return float(numbers.cast(pl.Float64).sum())


def column_aucs(column: Profile, labels: Sequence[pl.Series]) -> list[float]:
    """Return the AUC of a column for each label (0, 1, null), at least .5; .5 where it cannot tell.

    Numbers: of the value, in either direction, of rows that have one, or value by value if there
    are few. Other values, missing ones included: of the mean label of the other half of the rows
    with the same value.
    """
    if column.kind in ("list", "other", "empty"):
        return [0.5] * len(labels)
    is_number = column.kind in _NUMBERS
    keys = column.values.to_physical().cast(pl.Float64) if is_number else column.codes
    half = np.random.default_rng(0).integers(0, 2, len(keys), dtype=np.int8)
    counts = (
        pl.DataFrame({"key": keys, "half": half})
        .with_columns(
            *((label == 1).alias(f"one{index}") for index, label in enumerate(labels)),
            *((label == 0).alias(f"zero{index}") for index, label in enumerate(labels)),
        )
        .group_by("key", "half")
        .agg(pl.all().sum())
    )
    if is_number and column.distinct > _FEW_VALUES:
        missing = counts.with_columns(key=pl.col("key").is_null())
        other = _other_half(missing.group_by("key", "half").agg(pl.all().sum()))
    else:
        other = _other_half(counts)
    known = counts.drop_nulls("key")
    found = []
    for index in range(len(labels)):
        best = _by_value(other, index)
        if is_number:
            value = auc(known["key"], known[f"one{index}"], known[f"zero{index}"])
            best = max(best, value, 1 - value)
        found.append(best)
    return found


def _other_half(counts: pl.DataFrame) -> pl.DataFrame:
    """Add the counts of the other half of the rows with the same value."""
    other = counts.with_columns(half=1 - pl.col("half"))
    return counts.join(other, on=["key", "half"], how="left", suffix=".other", nulls_equal=True)


def _by_value(counts: pl.DataFrame, index: int) -> float:
    """AUC of the mean label per value, out of fold, with one row at the overall mean added."""
    one, zero = counts[f"one{index}"], counts[f"zero{index}"]
    rows = _sum(one) + _sum(zero)
    if not rows:
        return 0.5
    ones = counts[f"one{index}.other"].fill_null(0)
    others = ones + counts[f"zero{index}.other"].fill_null(0)
    return auc((ones + _sum(one) / rows) / (others + 1), one, zero)
