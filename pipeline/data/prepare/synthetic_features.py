"""Features of the simulated world, with KuaiRand's names where possible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.data.prepare import kuairand_features
from pipeline.data.prepare.history import Bags, RollingEvents, find_past
from pipeline.data.prepare.planted import (
    DAY_MS,
    NUM_TABS,
    START_MS,
    TASKS,
    Impressions,
    PlantedWorld,
)
from pipeline.data.prepare.writer import to_lists
from pipeline.data.schema import SparseFeature
from pipeline.features.vocabulary import Vocabulary
from pipeline.io.arrays import IntArray

EVENTS = ("click", "long_view", "like")
USER_TABLES = ("user_id", "user_active_degree", "onehot_feat1")
VIDEO_TABLES = ("video_id", "author_id", "video_type", "upload_type", "duration_bucket")
SPARSE = (
    *(SparseFeature(name=name, group="user", table=name) for name in USER_TABLES),
    *(
        SparseFeature(name=f"hist_{event}_{what}", group="user", table=f"{what}_id", multi=True)
        for what in ("video", "author")
        for event in EVENTS
    ),
    *(SparseFeature(name=name, group="item", table=name) for name in VIDEO_TABLES),
    SparseFeature(name="tag", group="item", table="tag", multi=True),
    *(SparseFeature(name=name, group="context", table=name) for name in ("tab", "hour")),
)
DENSE = (
    "log_follow_user_num",
    "log_register_days",
    "log_duration_s",
    "video_age_days",
    "log_past_impressions",
    *(f"log_past_{event}s" for event in EVENTS),
    "log_seconds_since_last",
)
_KUAIRAND = {label.name: label for label in kuairand_features.LABELS}
LABELS = tuple(
    _KUAIRAND[task.name].model_copy(update={"oracle": f"oracle_{task.name}"}) for task in TASKS
)
HOUR_MS = 3_600_000
_TASK = {task.name: position for position, task in enumerate(TASKS)}


def _raw_users(world: PlantedWorld) -> dict[str, pl.Series]:
    """Return raw values of the tables in USER_TABLES, [U] each."""
    number = np.arange(world.num_users)
    words = pl.Series(["full_active", "high_active", "middle_active", "low_active"])
    return {
        "user_id": pl.Series(number),
        "user_active_degree": words.gather(len(words) * number // world.num_users),
        "onehot_feat1": pl.Series(world.user_group),
    }


def _raw_videos(world: PlantedWorld) -> dict[str, pl.Series]:
    """Return raw values of the tables in VIDEO_TABLES, [V] each. The two types have no effect."""
    number = np.arange(world.num_videos)
    octaves = np.log2(np.maximum(world.video_duration_s, 1))
    return {
        "video_id": pl.Series(number),
        "author_id": pl.Series(world.video_author),
        "video_type": pl.Series(["NORMAL", "AD"]).gather(number % 50 // 49),
        "upload_type": pl.Series(["LongImport", "Web", "ShortImport"]).gather(number % 3),
        "duration_bucket": pl.Series(np.floor(4 * octaves).astype(np.int64)),
    }


def count_vocabularies(
    world: PlantedWorld, train_days: int, min_count: int
) -> dict[str, Vocabulary]:
    """Return the vocabulary of each table, from the rows of the train split.

    Draws users and videos again, because storing them would need memory for every row.
    """
    by_user, by_video = np.zeros(world.num_users, np.int64), np.zeros(world.num_videos, np.int64)
    for block in range(world.num_blocks):
        user, video = world.who_and_what(block)
        train = world.times(block) < START_MS + train_days * DAY_MS
        by_user += np.bincount(user[train], minlength=world.num_users)
        by_video += np.bincount(video[train], minlength=world.num_videos)
        if not train.all():
            break

    def vocabulary(name: str, ids: pl.Series, counts: IntArray, least: int) -> Vocabulary:
        table = pl.DataFrame({"id": ids, "count": counts}).filter(pl.col("count") > 0)
        return Vocabulary.from_counts(name, table, least)

    vocabularies = {}
    for raw, counts in ((_raw_users(world), by_user), (_raw_videos(world), by_video)):
        for name, ids in raw.items():
            least = min_count if name.endswith("_id") else 1
            vocabularies[name] = vocabulary(name, ids, counts, least)
    by_tag = np.repeat(by_video, world.video_num_tags)
    vocabularies["tag"] = vocabulary("tag", pl.Series(world.tag_values), by_tag, 1)
    for name, size in (("tab", NUM_TABS), ("hour", 24)):  # all values occur in any train split
        vocabularies[name] = Vocabulary(name, pl.int_range(size, dtype=pl.Int64, eager=True))
    return vocabularies


class Encoder:
    """Converts chunks of rows, in time order, to columns; keeps the past of users."""

    def __init__(
        self, world: PlantedWorld, vocabularies: Mapping[str, Vocabulary], max_history: int
    ) -> None:
        self._world = world
        self._vocabularies = vocabularies
        self._user_codes = {n: vocabularies[n].encode(x) for n, x in _raw_users(world).items()}
        self._video_codes = {n: vocabularies[n].encode(x) for n, x in _raw_videos(world).items()}
        ends = np.cumsum(world.video_num_tags)
        self._tags = Bags(np.arange(ends[-1]), begin=ends - world.video_num_tags, end=ends)
        self._tag_codes = vocabularies["tag"].encode(pl.Series(world.tag_values))
        self._recent = {event: RollingEvents(world.num_users, max_history) for event in EVENTS}
        # For each user so far: events, rows, and time of the last row (0: none).
        self._totals = {event: np.zeros(world.num_users, np.int32) for event in EVENTS}
        self._impressions = np.zeros(world.num_users, np.int32)
        self._last_ms = np.zeros(world.num_users, np.int64)

    def encode(self, rows: Impressions) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the columns of `rows` by day; `rows` must follow those of the previous call."""
        by_user = np.argsort(rows.user, kind="stable")
        place = np.empty_like(by_user)  # position of each row in by_user's order
        place[by_user] = np.arange(len(by_user))
        user, time_ms = rows.user[by_user], rows.time_ms[by_user]
        past = find_past(user, time_ms)

        impressions = self._impressions[user] + past.num_rows
        last_ms = np.where(past.num_rows > 0, time_ms[past.end - 1], self._last_ms[user])
        self._impressions += np.bincount(user, minlength=self._world.num_users).astype(np.int32)
        self._last_ms[user] = time_ms  # the last of a user's rows wins
        bags, past_events = {}, {}
        for event in EVENTS:
            happened = rows.label[by_user, _TASK[event]]
            bags[event] = self._recent[event].advance(user, past, happened, rows.video[by_user])
            past_events[event] = self._totals[event][user] + past.count(happened)
            counts = np.bincount(user[happened], minlength=self._world.num_users)
            self._totals[event] += counts.astype(np.int32)

        day, in_day = np.divmod(rows.time_ms - START_MS, DAY_MS)
        columns = self._plain_columns(rows, day, in_day)
        columns["log_past_impressions"] = np.log1p(impressions)[place]
        for event, count in past_events.items():
            columns[f"log_past_{event}s"] = np.log1p(count)[place]
        columns["log_seconds_since_last"] = pa.array(
            np.log1p((time_ms - last_ms) / 1000)[place], mask=(last_ms == 0)[place]
        )
        starts = np.flatnonzero(np.diff(day, prepend=-1))
        for start, end in zip(starts, np.append(starts[1:], len(day)), strict=True):
            of_day = {name: column[start:end] for name, column in columns.items()}
            for event, bag in bags.items():
                for what in ("video", "author"):
                    codes = self._video_codes[f"{what}_id"]
                    lists = to_lists(*bag.gather(codes, place[start:end]))
                    of_day[f"hist_{event}_{what}"] = lists
            of_day["tag"] = to_lists(*self._tags.gather(self._tag_codes, rows.video[start:end]))
            yield int(day[start]), of_day

    def _plain_columns(self, rows: Impressions, day: IntArray, in_day: IntArray) -> dict[str, Any]:
        """Return all columns except tags and those of the past."""
        world, vocabularies = self._world, self._vocabularies
        columns: dict[str, Any] = {
            **{name: codes[rows.user] for name, codes in self._user_codes.items()},
            **{name: codes[rows.video] for name, codes in self._video_codes.items()},
            "tab": vocabularies["tab"].encode(pl.Series(rows.tab)),
            "hour": vocabularies["hour"].encode(pl.Series(in_day // HOUR_MS)),
            "log_follow_user_num": np.log1p(world.user_follows)[rows.user],
            "log_register_days": np.log1p(world.user_register_days)[rows.user],
            "log_duration_s": np.log1p(world.video_duration_s)[rows.video],
            "video_age_days": world.video_age_days[rows.video] + day,
        }
        for position, label in enumerate(LABELS):
            columns[label.column] = rows.label[:, position]
            assert label.oracle is not None
            columns[label.oracle] = rows.probability[:, position]
        return columns
