"""Fits a feature program: counts the training rows, in any order and in parts, exactly.

counts = Counts(program)
counts.add(raw, kept)         # results of program.raw_columns
counts.merge(other)           # of other rows
fitted = counts.fit(low)      # low: LowCounts of a second pass, only for quantiles
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.features.config import FeatureConfig, IdsConfig
from pipeline.features.distinct import Coded, Rows
from pipeline.features.fitted import Fitted, Standard
from pipeline.features.moments import Moments
from pipeline.features.program import FeatureProgram
from pipeline.features.quantiles import HighHalves, LowHalves, edges
from pipeline.features.vocabulary import Vocabulary

_MERGE_AT = 1 << 17
"""Least number of partial counts that are summed."""


class Counts:
    """Counts of ids, moments of numbers, and the first pass of quantiles."""

    def __init__(self, features: Mapping[str, FeatureConfig]) -> None:
        self._tables: dict[str, list[str]] = {}
        self._ids: dict[str, IdsConfig] = {}
        self._counts: dict[str, list[pl.DataFrame]] = {}
        """By feature."""
        for name, feature in features.items():
            if feature.type != "number" and feature.ids.vocabulary_or_default is not None:
                table = feature.table or name
                self._tables.setdefault(table, []).append(name)
                self._ids[table] = feature.ids
                self._counts[name] = []
        self._moments = {n: Moments() for n, one in features.items() if one.type == "number"}
        self._high = {
            name: HighHalves() for name, one in features.items() if one.ids.quantiles is not None
        }
        self._ranges = {n: one.ids.quantiles for n, one in features.items() if one.ids.quantiles}

    def add(self, raw: Mapping[str, Coded], kept: NDArray[np.bool_]) -> None:
        """Count the training rows, `kept`, of a result of `FeatureProgram.raw_columns`."""
        for name in self._counts:
            self._append(name, raw[name].filter(kept).counts())
        for name, moments in self._moments.items():
            moments.add(_numbers(raw[name].filter(kept)))
        for name, high in self._high.items():
            high.add(_numbers(raw[name].filter(kept)))

    def merge(self, other: Counts) -> None:
        """Add the counts of other rows."""
        for name, parts in other._counts.items():
            for part in parts:
                self._append(name, part)
        for name, moments in self._moments.items():
            moments.merge(other._moments[name])
        for name, high in self._high.items():
            high.merge(other._high[name])

    def _append(self, name: str, counts: pl.DataFrame) -> None:
        parts = self._counts[name]
        parts.append(counts)
        if sum(map(len, parts)) > 2 * len(parts[0]) + _MERGE_AT:
            self._counts[name] = [_sum(parts)]

    @property
    def low(self) -> dict[str, LowHalves]:
        """What the second pass has to count, by feature; empty if it is not needed."""
        return {
            name: LowHalves(high.wanted(self._ranges[name])) for name, high in self._high.items()
        }

    def fit(self, low: Mapping[str, LowHalves]) -> Fitted:
        """Return the fitted values."""
        vocabularies = {}
        for table, names in self._tables.items():
            config = self._ids[table].vocabulary_or_default
            assert config is not None
            counts = pl.concat(_sum(self._counts[n]).cast({"id": pl.String}) for n in names)
            vocabularies[table] = Vocabulary.from_counts(
                table, counts, config.min_count, config.max_size
            )
        return Fitted(
            vocabularies,
            {name: edges(high, low[name], self._ranges[name]) for name, high in self._high.items()},
            {name: Standard(one.mean, one.std) for name, one in self._moments.items()},
        )


def add_low(
    low: Mapping[str, LowHalves], raw: Mapping[str, Coded], kept: NDArray[np.bool_]
) -> None:
    """Count the training rows, `kept`, in the second pass."""
    for name, halves in low.items():
        halves.add(_numbers(raw[name].filter(kept)))


def fit_frame(program: FeatureProgram, frame: pl.DataFrame) -> Fitted:
    """Fit to the rows of one frame."""
    raw = program.raw_columns(Rows(frame))
    counts = Counts(program.features)
    kept = np.ones(len(frame), dtype=np.bool_)
    counts.add(raw, kept)
    low = counts.low
    add_low(low, raw, kept)
    return counts.fit(low)


def _numbers(column: Coded) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = column.series.drop_nulls().to_numpy()
    return numbers


def _sum(parts: list[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema={"id": pl.String, "count": pl.Int64})
    return pl.concat(parts).group_by("id").agg(pl.col("count").sum())
