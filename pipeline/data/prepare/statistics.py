"""Counts and smoothed rates of users, videos, authors and pairs on earlier days.

For each key (one or several columns, such as user_id and tab) a row gets the number of impressions
of the key on earlier days, and for each label its smoothed rate:

    shown  log(1 + rows)
    LABEL  logit((positives + s * r) / (known + s)) - logit(r)

with r the rate of all rows on the same days and s `smoothing`: 0 for an unseen key, and near 0 for
a key with few rows. Only earlier days count, not the row itself or others of the same day. For
frozen labels, the statistics in val and test are those at the start of the split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

_DATE, _SHOWN, _LIMIT = "date", "shown", "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of the statistics: rows with equal `columns`."""

    name: str
    columns: tuple[str, ...]

    @property
    def of_user(self) -> bool:
        """Whether all rows of a value belong to one user."""
        return "user_id" in self.columns

    def features(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Names of the columns that `look_up` returns."""
        return tuple(f"stat_{self.name}_{what}" for what in (_SHOWN, *labels))


EVERYTHING = Key(name="all", columns=())
"""Key of all rows, whose rates are used for smoothing."""


def daily(rows: pl.DataFrame, key: Key, labels: Mapping[str, str]) -> pl.DataFrame:
    """Count rows, known labels and positives for each value of `key` and date.

    `rows` has the key's columns, `date` and the label columns: name -> column, null if missing.
    """
    return rows.group_by(*key.columns, _DATE).agg(
        pl.len().cast(pl.Int64).alias(_SHOWN),
        *(pl.col(column).count().cast(pl.Int64).alias(_known(n)) for n, column in labels.items()),
        *(pl.col(column).sum().cast(pl.Float64).alias(name) for name, column in labels.items()),
    )


def running(parts: pl.LazyFrame, key: Key) -> pl.DataFrame:
    """Sum `daily` tables over days: the counts at the end of each date of a key."""
    keys = list(key.columns)
    summed = parts.group_by(*keys, _DATE).agg(pl.all().sum()).sort(*keys, _DATE)
    counts = pl.all().exclude(*keys, _DATE).cum_sum()
    return summed.with_columns(counts.over(keys) if keys else counts).collect(engine="streaming")


def look_up(
    rows: pl.DataFrame,
    key: Key,
    known: pl.DataFrame,
    overall: pl.DataFrame,
    labels: Sequence[str],
    *,
    frozen: Sequence[str],
    smoothing: float,
) -> pl.DataFrame:
    """Return the key's features, float32, for each of `rows`, in order.

    Args:
        rows: the key's columns, `date`, and `frozen_from`: the first date not counted for `frozen`
            labels (the row's date, or the first of its split).
        known, overall: `running` of the key (at least for the values in `rows`) and of EVERYTHING.
        labels, frozen: names; the counts of the key are frozen if any label is.
    """
    moving = [name for name in labels if name not in frozen]
    parts = [
        _as_of(rows, "frozen_from", key, known, overall, frozen, smoothing, shown=bool(frozen))
    ]
    parts += [_as_of(rows, _DATE, key, known, overall, moving, smoothing, shown=not frozen)]
    features = pl.concat([part for part in parts if part.width], how="horizontal")
    return features.select(key.features(labels))


def _as_of(
    rows: pl.DataFrame,
    limit: str,
    key: Key,
    known: pl.DataFrame,
    overall: pl.DataFrame,
    labels: Sequence[str],
    smoothing: float,
    *,
    shown: bool,
) -> pl.DataFrame:
    """Return features of `labels` from the days before `rows[limit]`."""
    if not labels and not shown:
        return pl.DataFrame()
    keys = list(key.columns)
    wanted = rows.select(*keys, pl.col(limit).alias(_LIMIT))
    distinct = wanted.unique().sort(_LIMIT)
    found = _last_before(distinct, known, keys)
    rates = _last_before(distinct.select(_LIMIT).unique().sort(_LIMIT), overall, [])
    found = found.join(rates, on=_LIMIT, suffix="_all")
    columns = []
    for name in labels:
        # Without earlier rows there is no rate: use 0.5; no key is known then.
        rate = (pl.col(f"{name}_all") + 1) / (pl.col(f"{_known(name)}_all") + 2)
        smoothed = (pl.col(name) + smoothing * rate) / (pl.col(_known(name)) + smoothing)
        columns.append((_logit(smoothed) - _logit(rate)).alias(f"stat_{key.name}_{name}"))
    if shown:
        columns.append(pl.col(_SHOWN).log1p().alias(f"stat_{key.name}_{_SHOWN}"))
    made = found.select(*keys, _LIMIT, *(column.cast(pl.Float32) for column in columns))
    joined = wanted.join(made, on=[*keys, _LIMIT], how="left", maintain_order="left")
    return joined.drop(*keys, _LIMIT)


def _last_before(wanted: pl.DataFrame, known: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Join `wanted` with the counts before its limit; zeros if there are none."""
    found = wanted.join_asof(
        known.sort(_DATE),
        left_on=_LIMIT,
        right_on=_DATE,
        by=keys or None,
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,  # both are sorted by the join columns
    )
    return found.drop(_DATE).with_columns(pl.all().exclude(*keys, _LIMIT).fill_null(0))


def _logit(share: pl.Expr) -> pl.Expr:
    return (share / (1 - share)).log()


def _known(label: str) -> str:
    return f"known_{label}"


class Ledger:
    """Daily counts of keys with rows in many buckets, stored on disk between two passes.

    Partitioned by a hash of the key, so that the counts of one partition fit in memory.
    """

    def __init__(
        self, folder: Path, keys: Sequence[Key], labels: Mapping[str, str], partitions: int
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._keys = tuple(keys)
        self._labels = labels
        self._partitions = partitions
        self._number = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Count a bucket's rows."""
        for key in (EVERYTHING, *self._keys):
            counts = daily(rows, key, self._labels)
            for part, path in enumerate(self._paths(key, f"part-{self._number}")):
                counts.filter(self._is_in(key, part)).write_parquet(path)
        self._number += 1

    def close(self) -> None:
        """Sum the counts; call before `look_up`."""
        for key in (EVERYTHING, *self._keys):
            for part, path in enumerate(self._paths(key, "running")):
                parts = sorted(self._folder.glob(f"{key.name}-{part}-part-*.parquet"))
                running(pl.scan_parquet(parts), key).write_parquet(path)
                for counted in parts:
                    counted.unlink()

    def known(self, key: Key, rows: pl.DataFrame) -> pl.DataFrame:
        """Return `running` counts of the values of `key` in `rows`."""
        counts = pl.scan_parquet(self._paths(key, "running"))
        if key.columns:
            values = rows.lazy().select(key.columns).unique()
            counts = counts.join(values, on=key.columns, how="semi")
        return counts.collect(engine="streaming")

    def _paths(self, key: Key, what: str) -> list[Path]:
        partitions = self._partitions if key.columns else 1
        return [self._folder / f"{key.name}-{part}-{what}.parquet" for part in range(partitions)]

    def _is_in(self, key: Key, part: int) -> pl.Expr:
        if not key.columns:
            return pl.lit(True)
        return pl.struct(key.columns).hash(seed=0) % self._partitions == part
