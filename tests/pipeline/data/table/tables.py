"""Small tables with every kind of feature."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.data.table.spec import TableSpec


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    """Return a table whose columns have missing values."""
    rng = np.random.default_rng(seed)
    start = datetime(2026, 5, 1)

    def some(values: Sequence[Any], share: float = 0.9) -> list[Any]:
        return [v if k < share else None for v, k in zip(values, rng.random(rows), strict=True)]

    lists = [rng.integers(0, 30, rng.integers(0, 5)).tolist() for _ in range(rows)]
    return pl.DataFrame(
        {
            "user": some(rng.integers(0, 40, rows).tolist()),
            "item": [f"i{n}" for n in rng.zipf(1.5, rows).clip(max=500)],
            "tags": (tags := some(lists)),
            "weights": [[float(x) / 4 for x in one or []] for one in tags],
            "words": some(["|".join(map(str, one)) for one in lists]),
            "age": some(rng.integers(10, 90, rows).tolist()),
            "price": some(rng.lognormal(size=rows).tolist()),
            "time": [start + timedelta(minutes=int(m)) for m in rng.integers(0, 20_000, rows)],
            "click": some(rng.integers(0, 2, rows).tolist(), 0.97),
            "importance": rng.exponential(size=rows),
            "stay": some((rng.exponential(size=rows) * 10).tolist()),
        },
        schema_overrides={
            "user": pl.Int64,
            "tags": pl.List(pl.Int64),
            "weights": pl.List(pl.Float64),
            "words": pl.String,
            "age": pl.Int64,
            "price": pl.Float64,
            "click": pl.Int64,
            "stay": pl.Float64,
        },
    )


FEATURES: dict[str, dict[str, Any]] = {
    "user": {"type": "id", "group": "user", "ids": {"vocabulary": {"min_count": 3}}},
    "item": {"type": "id", "group": "item", "ids": {"hash": 100}},
    "tags": {"type": "ids", "group": "item", "keep": "last 3", "table": "tag"},
    "words": {"type": "ids", "group": "item", "separator": "|", "table": "tag", "pooling": "sum"},
    "weighted": {"type": "weighted_ids", "column": "tags", "weights": "weights", "keep": "first 2"},
    "age": {"type": "number", "transform": [{"clip": [0, 80]}, "log1p", "standardise"]},
    "age_range": {"type": "id", "column": "age", "ids": {"quantiles": 7}},
    "price": {"type": "number", "missing": "zero", "transform": []},
    "price_mean": {"type": "number", "column": "price", "transform": ["log1p"]},
    "hour": {"type": "id", "column": "time", "part": "hour"},
    "user_x_hour": {"type": "id", "cross": ["user", "age"], "ids": {"hash": 50}},
}
LABELS = {
    "click": {"category": "watch"},
    "stayed": {"column": "stay", "at_least": 8.0},
    "teen": {"column": "age", "in": [13, 14, 15]},
}


def spec(path: Path | Sequence[Path], **changes: Any) -> TableSpec:
    """Return a specification for files of `table`."""
    paths = [path] if isinstance(path, Path) else path
    given: dict[str, Any] = {
        "source": {"path": [str(one) for one in paths]},
        "split": {
            "by": "time",
            "column": "time",
            "val_from": "2026-05-12",
            "test_from": "2026-05-13",
        },
        "user": "user",
        "weight": "importance",
        "labels": LABELS,
        "features": FEATURES,
        "rows_per_group": 64,
    }
    return TableSpec.model_validate(given | changes)


def silent(done: int, total: int, what: str) -> None:
    """Show no progress."""
    assert 0 <= done <= total, what
