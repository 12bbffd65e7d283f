"""Statistics of features from their counts: missing, distinct, rare, unseen values, and drift."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.data.check_table.drift import LARGE, MODERATE, Drift, compare, count_ranges
from pipeline.data.check_table.drift import range_limits as limits_of
from pipeline.data.check_table.hash_counts import HASH
from pipeline.data.check_table.result import DriftInSplit, FeatureCheck
from pipeline.data.check_table.tally import Tally, is_numeric
from pipeline.data.schema import SPLITS
from pipeline.data.table.splits import TRAIN
from pipeline.features.config import FeatureConfig

NUM_TOP = 20
"""Most frequent ids that are bins of the stability index."""
_TOTAL = "total"
"""Training rows of a value in all features of its table."""
Features = dict[str, FeatureConfig]


def feature_checks(features: Features, tally: Tally) -> tuple[FeatureCheck, ...]:
    """Return the statistics of all features, in order."""
    samples = [tally.numbers.of(split) for split in range(len(SPLITS))]
    return tuple(
        _number(name, feature, tally, [one[name].to_numpy() for one in samples])
        if is_numeric(feature)
        else _ids(name, features, tally)
        for name, feature in features.items()
    )


def _number(
    name: str, feature: FeatureConfig, tally: Tally, samples: list[NDArray[np.float32]]
) -> FeatureCheck:
    train = samples[TRAIN]
    limits = limits_of(train[~np.isnan(train)])
    bins = [count_ranges(one, limits) for one in samples]
    counts = tally.distinct[name]
    distinct = int((counts.frame["train"] > 0).sum()) * counts.scale
    return FeatureCheck(
        name=name,
        type=feature.type,
        missing=_shares(tally.missing[name], tally.rows),
        distinct=distinct,
        exact=counts.scale == 1,
        drift=_drift(bins),
        constant=_is_constant(name, distinct, tally),
    )


def _ids(name: str, features: Features, tally: Tally) -> FeatureCheck:
    feature = features[name]
    frame, scale = _counted(name, features, tally)
    vocabulary = feature.ids.vocabulary_or_default
    min_count = 1 if vocabulary is None else vocabulary.min_count
    known = frame[_TOTAL].to_numpy() >= min_count
    if vocabulary is not None and vocabulary.max_size:
        # Of equally frequent values a vocabulary keeps the first as text, not as hashes.
        order = frame.select(pl.col(_TOTAL).rank("ordinal", descending=True)).to_series()
        known &= order.to_numpy() * scale <= vocabulary.max_size
    in_train = (frame["train"] > 0).to_numpy()
    unknown = np.array([int(frame[split].filter(pl.Series(~known)).sum()) for split in SPLITS])
    values = tally.values[name]
    # A value seen once foretells as many new ones (Good and Turing).
    frequent = known & (frame[_TOTAL].to_numpy() >= 2)
    distinct = int(in_train.sum()) * scale
    return FeatureCheck(
        name=name,
        type=feature.type,
        missing=_shares(tally.missing[name], tally.rows),
        distinct=distinct,
        exact=scale == 1,
        rare=None if vocabulary is None else int((in_train & ~known).sum()) * scale,
        unseen=_shares(np.minimum(unknown * scale, values), values),
        drift=_drift(_id_bins(frame.filter(pl.Series(frequent)), frame, scale, name, tally)),
        constant=_is_constant(name, distinct, tally),
    )


def _counted(name: str, features: Features, tally: Tally) -> tuple[pl.DataFrame, int]:
    """Return the counts of a feature's values, with those in training of its whole table."""
    table = features[name].table or name
    sharing = [
        other
        for other, one in features.items()
        if not is_numeric(one) and (one.table or other) == table
    ]
    frames = {other: tally.distinct[other].frame for other in sharing}
    scale = max(tally.distinct[other].scale for other in sharing)
    totals = pl.concat(one.select(HASH, "train") for one in frames.values())
    totals = totals.group_by(HASH).agg(pl.col("train").sum().alias(_TOTAL))
    mine = frames[name].filter(pl.col(HASH) % scale == 0)
    return mine.join(totals, on=HASH, how="left").sort(HASH), scale


def _id_bins(
    frequent: pl.DataFrame, frame: pl.DataFrame, scale: int, name: str, tally: Tally
) -> list[NDArray[np.float64]]:
    """Count by bin for each split: the most frequent values, others, rare and new ones, missing."""
    top = frequent.sort("train", HASH, descending=[True, False]).head(NUM_TOP)
    bins = []
    for index, split in enumerate(SPLITS):
        values = int(tally.values[name][index])
        shown = top[split].to_numpy()
        rare = min((int(frame[split].sum()) - int(frequent[split].sum())) * scale, values)
        rest = max(values - int(shown.sum()) - rare, 0)
        missing = int(tally.missing[name][index])
        bins.append(np.array([*shown, rest, rare, missing], dtype=np.float64))
    return bins


def _is_constant(name: str, distinct: int, tally: Tally) -> bool:
    return distinct == 0 or (distinct == 1 and not tally.missing[name][TRAIN])


def _drift(bins: list[NDArray[np.float64]]) -> dict[str, DriftInSplit | None]:
    found = {
        split: compare(bins[TRAIN], bins[index])
        for index, split in enumerate(SPLITS)
        if index != TRAIN
    }
    return {split: None if one is None else _graded(one) for split, one in found.items()}


def _graded(drift: Drift) -> DriftInSplit:
    excess = drift.excess
    return DriftInSplit(
        psi=drift.psi,
        by_chance=drift.by_chance,
        severity="large" if excess > LARGE else "moderate" if excess > MODERATE else "none",
    )


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> dict[str, float | None]:
    return {
        split: int(part[index]) / int(whole[index]) if whole[index] else None
        for index, split in enumerate(SPLITS)
    }
