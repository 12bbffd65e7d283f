"""Columns of a bucket's shards: statistics of earlier days and histories of past events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from pipeline.data.prepare.history import find_past, last_events, until
from pipeline.data.prepare.kuairand_features import COUNTED, EVENTS, KEYS
from pipeline.data.prepare.statistics import EVERYTHING, Ledger, daily, look_up, running
from pipeline.data.prepare.writer import to_lists

ROWS_PER_SHARD = 262_144  # six bags of up to 30 take about 1.5 kB per row in memory


def frozen_from(val_from: int, test_from: int) -> pl.Expr:
    """Return the date at which a row's frozen statistics end: its own, or its split's first."""
    date = pl.col("date")
    frozen = pl.when(date >= test_from).then(test_from).when(date >= val_from).then(val_from)
    return frozen.otherwise(date).cast(pl.Int32).alias("frozen_from")


def with_statistics(
    features: pl.DataFrame, ledger: Ledger, frozen_labels: Sequence[str], smoothing: float
) -> pl.DataFrame:
    """Return `features` of a bucket plus those of KEYS. All rows of a user are in one bucket."""
    overall = ledger.known(EVERYTHING, features)
    found = []
    for key in KEYS:
        if key.of_user:
            known = running(daily(features, key, COUNTED).lazy(), key)
        else:
            known = ledger.known(key, features)
        found.append(
            look_up(
                features,
                key,
                known,
                overall,
                tuple(COUNTED),
                frozen=tuple(frozen_labels) if key.of_user else (),
                smoothing=smoothing,
            )
        )
    return pl.concat([features, *found], how="horizontal")


def bucket_shards(
    log: pl.DataFrame, features: pl.DataFrame, max_history: int, frozen_labels: Sequence[str]
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield day, index within the day, and all columns of each shard of a bucket, by time.

    `features` has one row for each row of `log`, which is sorted by user and time.
    """
    time = log["time_ms"].to_numpy()
    events = {event: log[column].to_numpy() == 1 for event, column in EVENTS.items()}
    past = find_past(log["user_id"].to_numpy(), time)
    days_before = until(past, log["date"].to_numpy(), features["frozen_from"].to_numpy())
    past_of = {event: days_before if event in frozen_labels else past for event in events}
    bags = {
        event: last_events(past_of[event], happened, max_history)
        for event, happened in events.items()
    }
    bag_values = {"video": features["video_id"], "author": features["author_id"]}
    last = np.where(past.num_rows > 0, time - time[np.maximum(past.end - 1, 0)], 0)
    features = features.with_columns(
        pl.Series("log_past_impressions", np.log1p(past.num_rows), pl.Float32),
        *(
            pl.Series(f"log_past_{event}s", np.log1p(past_of[event].count(happened)), pl.Float32)
            for event, happened in events.items()
        ),
        pl.when(pl.Series(past.num_rows > 0))
        .then(pl.Series(np.log1p(last / 1000), dtype=pl.Float32))
        .alias("log_seconds_since_last"),
    )
    by_day = np.lexsort((time, log["date"].to_numpy()))
    days, starts = np.unique(log["date"].to_numpy()[by_day], return_index=True)
    borders = np.append(starts, len(by_day)).tolist()
    for day, (first, end) in zip(days.tolist(), pairwise(borders), strict=True):
        for part, start in enumerate(range(first, end, ROWS_PER_SHARD)):
            rows = by_day[start : min(start + ROWS_PER_SHARD, end)]
            columns: dict[str, Any] = {
                series.name: series.to_arrow() for series in features[rows].iter_columns()
            }
            for event, bag in bags.items():
                for what, values in bag_values.items():
                    columns[f"hist_{event}_{what}"] = to_lists(*bag.gather(values.to_numpy(), rows))
            yield day, part, columns
