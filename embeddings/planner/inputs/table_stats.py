"""Table statistics from data: ids per sample, distinct ids per batch, access skew.

`pipeline/planning/collect_table_stats.py` counts them. They replace assumptions about pooling
factors, distinct ids per batch, and cache sizes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from embeddings.frozen import Frozen
from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.inputs.files import read_json, read_yaml, validate
from embeddings.planner.inputs.table_list import CacheUse, ListedTable

KIND = "homerec table stats"
VERSION = 1


class FeatureStats(Frozen):
    """Number of ids per row of one feature."""

    mean: float = Field(ge=0)
    """Mean ids per row: TorchRec's pooling factor."""
    empty: float = Field(ge=0, le=1)
    """Share of rows without ids."""
    quantiles: dict[str, int]
    """50th, 90th, 99th percentile and maximum of ids per row."""


class AccessCounts(Frozen):
    """Lookups of a table's rows by all of its features."""

    rows: int = Field(ge=1)
    """Rows of the table."""
    features: tuple[str, ...] = Field(min_length=1)
    spectrum: tuple[tuple[int, int], ...]
    """(lookups of a row, number of such rows), in decreasing order; other rows have no lookups."""
    distinct: tuple[float, ...]
    """Mean number of distinct ids in 1, 2, 4, 8, ... consecutive rows of the data; the last entry
    covers all rows."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        counts = [count for count, _ in self.spectrum]
        if counts != sorted(set(counts), reverse=True) or any(min(p) < 1 for p in self.spectrum):
            raise ValueError(
                "spectrum: counts must be positive and decreasing; collect the statistics again"
            )
        if self.seen > self.rows:
            raise ValueError(
                f"spectrum: {self.seen} rows of {self.rows}; collect the statistics again"
            )
        if not self.distinct or min(self.distinct) < 0 or self.distinct[-1] != self.seen:
            raise ValueError(
                "distinct: does not end with all ids of the spectrum; collect the statistics again"
            )
        return self

    @property
    def seen(self) -> int:
        """Number of rows that were looked up."""
        return sum(rows for _, rows in self.spectrum)

    @property
    def lookups(self) -> int:
        return sum(count * rows for count, rows in self.spectrum)

    def served(self, rows: int) -> float:
        """Return the share of lookups in the `rows` most looked-up rows; 1 without lookups."""
        counts, sizes = self._steps()
        if not len(counts):
            return 1.0
        inside = np.clip(rows - (sizes.cumsum() - sizes), 0, sizes)
        return float((inside * counts).sum() / self.lookups)

    def rows_for(self, share: float) -> int:
        """Return the minimum number of rows that get `share` of the lookups; at least 1."""
        counts, sizes = self._steps()
        if not len(counts):
            return 1
        ends = (counts * sizes).cumsum()
        # The product with a share is inexact, so ignore differences of less than one lookup.
        wanted = math.ceil(share * self.lookups - 1e-6)
        step = int(np.searchsorted(ends, wanted))
        before = int(ends[step] - counts[step] * sizes[step])
        inside = -((before - wanted) // int(counts[step]))
        return max(1, int(sizes[:step].sum()) + inside)

    def distinct_in(self, rows: int) -> float:
        """Return the mean number of distinct ids in this many consecutive rows of the data.

        Interpolates linearly between powers of two.
        """
        sizes = 2.0 ** np.arange(len(self.distinct))
        return float(np.interp(rows, sizes, self.distinct))

    def miss_rate(self, rows: int, lookups: float) -> float:
        """Return the share of a batch's distinct ids outside the `rows` most looked-up rows.

        A batch of `lookups` independent lookups contains row i, which has a share p_i of all
        lookups, with probability 1 - (1 - p_i) ^ lookups. A cache gets one lookup per distinct id,
        so its miss rate is higher than that of all lookups.
        """
        counts, sizes = self._steps()
        if rows >= self.rows or not len(counts):
            return 0.0
        present = -np.expm1(lookups * np.log1p(-np.minimum(counts / self.lookups, 1 - 1e-12)))
        inside = np.clip(rows - (sizes.cumsum() - sizes), 0, sizes)
        everything = float((present * sizes).sum())
        missed = float((present * (sizes - inside)).sum())
        return missed / everything if everything else 0.0

    def cacheability(self) -> float:
        """Area under the curve of missed lookups by cached rows: 0: few hot rows, 0.5: uniform."""
        counts, sizes = self._steps()
        if not len(counts):
            return 0.0
        ends = (counts * sizes).cumsum() / self.lookups
        starts = ends - counts * sizes / self.lookups
        # Linear within rows of equal count; no misses once all used rows are cached.
        return float((sizes * (1 - (starts + ends) / 2)).sum() / self.rows)

    def _steps(self) -> tuple[FloatArray, IntArray]:
        """Return lookups per row and numbers of such rows, [K] each."""
        steps = np.array(self.spectrum, np.int64).reshape(-1, 2)
        return steps[:, 0].astype(np.float64), steps[:, 1]


class TableStats(Frozen):
    """Statistics of all tables of a model."""

    kind: Literal["homerec table stats"] = "homerec table stats"
    version: Literal[1] = 1
    source: str
    """Source of the data."""
    rows: int = Field(ge=1)
    """Rows of the data."""
    features: dict[str, FeatureStats]
    tables: dict[str, AccessCounts]

    def pooling(self, table: ListedTable) -> tuple[float, ...]:
        """Mean ids per bag of each feature."""
        bags = table.num_poolings
        each = bags if isinstance(bags, tuple) else (bags,) * len(table.feature_names)
        return tuple(
            self.features[name].mean / count
            for name, count in zip(table.feature_names, each, strict=True)
        )

    def with_stats(self, table: ListedTable, rows: int, share: float) -> ListedTable:
        """Return `table` with its usage in the data, for global batches of `rows` rows.

        The cache contains the rows that get `share` of the lookups. Raises ValueError if the
        statistics are from another table, or a feature has no ids.
        """
        known = self.tables.get(table.name)
        if known is None:
            shown = ", ".join(list(self.tables)[:10])
            raise ValueError(
                f"no table {table.name!r}; tables: {shown}; collect the statistics again"
            )
        for field, theirs, ours in (
            ("rows", known.rows, table.rows),
            ("features", ", ".join(known.features), ", ".join(table.feature_names)),
        ):
            if theirs != ours:
                raise ValueError(
                    f"table {table.name!r} has {field} {theirs} there and {ours} here; "
                    "collect the statistics again"
                )
        pooling = self.pooling(table)
        if min(pooling) <= 0:
            name = table.feature_names[pooling.index(0)]
            raise ValueError(f"feature {name!r} has no id in any row; remove it from the model")
        cached_rows = known.rows_for(share)
        lookups = rows * sum(self.features[name].mean for name in table.feature_names)
        return table.model_copy(
            update={
                "pooling_factor": pooling,
                "cache": CacheUse(
                    load_factor=cached_rows / known.rows,
                    distinct=known.distinct_in(rows),
                    miss_rate=known.miss_rate(cached_rows, lookups),
                    cacheability=known.cacheability(),
                ),
            }
        )

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), allow_nan=False) + "\n"


def load_table_stats(path: Path) -> TableStats:
    """Load a file of `homerec plan table-stats`, JSON or YAML. Raises ValueError in one line."""
    remedy = "write them with 'homerec plan table-stats SOURCE --data DIR --out FILE'"
    value = read_json(path, remedy) if path.suffix == ".json" else read_yaml(path)
    if value.get("kind") != KIND or value.get("version") != VERSION:
        raise ValueError(f"{path}: not table statistics of version {VERSION}; {remedy}")
    return validate(TableStats, value, path)
