"""What earlier days tell of a user, a video, an author or a pair: counts and smoothed rates.

For each key (one column or several, such as user_id and tab) a row gets how often the key was
shown on earlier days, and for each label how its rows turned out:

    shown  log(1 + rows)
    LABEL  logit((positives + s * r) / (known + s)) - logit(r)

with r the rate of all rows on the same days and s `smoothing`: 0 for a key never seen, and near 0
for one seen a few times. Only whole earlier days count: neither the row itself nor what was shown
beside it. A label may be frozen: in val and test it stays as it was when the split began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

_DATE, _SHOWN, _LIMIT = "date", "shown", "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is counted by: the rows that agree in `columns`."""

    name: str
    columns: tuple[str, ...]

    @property
    def of_user(self) -> bool:
        """Whether all its rows are one user's."""
        return "user_id" in self.columns

    def features(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Names of the columns that `look_up` makes."""
        return tuple(f"stat_{self.name}_{what}" for what in (_SHOWN, *labels))


EVERYTHING = Key(name="all", columns=())
"""All rows together: the rates that others are smoothed to."""


def daily(rows: pl.DataFrame, key: Key, labels: Mapping[str, str]) -> pl.DataFrame:
    """Rows, known labels and positives of each value of `key` on each date.

    `rows` has the key's columns, `date` and the label columns: name -> column, null where missing.
    """
    return rows.group_by(*key.columns, _DATE).agg(
        pl.len().cast(pl.Int64).alias(_SHOWN),
        *(pl.col(column).count().cast(pl.Int64).alias(_known(n)) for n, column in labels.items()),
        *(pl.col(column).sum().cast(pl.Float64).alias(name) for name, column in labels.items()),
    )


def running(parts: pl.LazyFrame, key: Key) -> pl.DataFrame:
    """`daily` tables, added up over the days: what is known at the end of each date of a key."""
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
    """The key's features, float32, a row for each of `rows`, in their order.

    Args:
        rows: the key's columns, `date`, and `frozen_from`: the first date that a row's `frozen`
            labels do not count (its own, or the first of its split).
        known, overall: `running` of the key (its values in `rows`, at least) and of EVERYTHING.
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
    """Features of `labels` from the days before `rows[limit]`."""
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
        # A day without rows before it has no rate: an even one stands in, and no key is known.
        rate = (pl.col(f"{name}_all") + 1) / (pl.col(f"{_known(name)}_all") + 2)
        smoothed = (pl.col(name) + smoothing * rate) / (pl.col(_known(name)) + smoothing)
        columns.append((_logit(smoothed) - _logit(rate)).alias(f"stat_{key.name}_{name}"))
    if shown:
        columns.append(pl.col(_SHOWN).log1p().alias(f"stat_{key.name}_{_SHOWN}"))
    made = found.select(*keys, _LIMIT, *(column.cast(pl.Float32) for column in columns))
    joined = wanted.join(made, on=[*keys, _LIMIT], how="left", maintain_order="left")
    return joined.drop(*keys, _LIMIT)


def _last_before(wanted: pl.DataFrame, known: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """`wanted` with what was known before its limit; zeros where nothing was."""
    found = wanted.join_asof(
        known.sort(_DATE),
        left_on=_LIMIT,
        right_on=_DATE,
        by=keys or None,
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,  # both are sorted by what is joined on
    )
    return found.drop(_DATE).with_columns(pl.all().exclude(*keys, _LIMIT).fill_null(0))


def _logit(share: pl.Expr) -> pl.Expr:
    return (share / (1 - share)).log()


def _known(label: str) -> str:
    return f"known_{label}"


class Ledger:
    """Daily counts of keys whose rows lie in many buckets, kept on disk between two passes.

    Partitioned by a hash of the key, so that one partition's counts fit in memory.
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
        """Add up what was counted; `look_up` may follow."""
        for key in (EVERYTHING, *self._keys):
            for part, path in enumerate(self._paths(key, "running")):
                parts = sorted(self._folder.glob(f"{key.name}-{part}-part-*.parquet"))
                running(pl.scan_parquet(parts), key).write_parquet(path)
                for counted in parts:
                    counted.unlink()

    def known(self, key: Key, rows: pl.DataFrame) -> pl.DataFrame:
        """`running` counts of the values of `key` that are in `rows`."""
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
