"""Features, tables and labels of KuaiRand, and their computation from raw columns.

Decisions:
- A value is missing (index 0; null for numbers) if it is empty, UNKNOWN, or a negative code or
  count (-124 is the data set's 'unknown').
- A row's play, profile and comment times define its labels, so they are not used in features.
- Only tables with thousands of ids (OPEN_TABLES) need `min_count` rows per id.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.data.prepare.kuairand_files import (
    LOG,
    USER_CODES,
    USER_COUNTS,
    USER_WORDS,
    VIDEO_CODES,
    VIDEO_WORDS,
    Files,
)
from pipeline.data.prepare.statistics import Key
from pipeline.data.prepare.writer import to_lists
from pipeline.data.schema import Label, SparseFeature
from pipeline.features.vocabulary import Vocabulary

LABELS = (
    Label(name="click", column="is_click", category="watch"),
    Label(name="long_view", column="long_view", category="watch"),
    Label(name="finish", column="finish", category="watch"),
    Label(name="like", column="is_like", category="interact"),
    Label(name="comment_enter", column="comment_enter", category="interact"),
    Label(name="profile_enter", column="is_profile_enter", category="interact"),
    Label(name="follow", column="is_follow", category="interact", default=False),
    Label(name="comment", column="is_comment", category="interact", default=False),
    Label(name="forward", column="is_forward", category="interact", default=False),
    Label(name="hate", column="is_hate", category="interact", default=False),
)

# Event of a user's past -> its column in the log.
EVENTS = {"click": "is_click", "long_view": "long_view", "like": "is_like"}

USER_SPARSE = USER_WORDS + USER_CODES
VIDEO_SPARSE = VIDEO_CODES + VIDEO_WORDS
CONTEXT_SPARSE = ("tab", "hour")
SPARSE = (
    SparseFeature(name="user_id", group="user", table="user_id"),
    *(SparseFeature(name=name, group="user", table=name) for name in USER_SPARSE),
    *(
        SparseFeature(name=f"hist_{event}_{what}", group="user", table=f"{what}_id", multi=True)
        for what in ("video", "author")
        for event in EVENTS
    ),
    SparseFeature(name="video_id", group="item", table="video_id"),
    *(SparseFeature(name=name, group="item", table=name) for name in VIDEO_SPARSE),
    SparseFeature(name="duration_bucket", group="item", table="duration_bucket"),
    SparseFeature(name="tag", group="item", table="tag", multi=True),
    *(SparseFeature(name=name, group="context", table=name) for name in CONTEXT_SPARSE),
)
OPEN_TABLES = ("user_id", "video_id", "author_id", "music_id")

USER_DENSE = tuple(f"log_{name}" for name in USER_COUNTS)
VIDEO_DENSE = ("log_duration_s", "video_age_days")
PAST_DENSE = (
    "log_past_impressions",
    *(f"log_past_{event}s" for event in EVENTS),
    "log_seconds_since_last",
)

# Labels with statistics, name -> column: the default labels.
COUNTED = {label.name: label.column for label in LABELS if label.default}
# Keys of the statistics of earlier days; `join_features` adds first_tag and octave.
KEYS = tuple(
    Key(name=name, columns=columns)
    for name, columns in {
        "user": ("user_id",),
        "user_tab": ("user_id", "tab"),
        "user_author": ("user_id", "author_id"),
        "user_tag": ("user_id", "first_tag"),
        "user_duration": ("user_id", "octave"),
        "video": ("video_id",),
        "author": ("author_id",),
        "music": ("music_id",),
        "tag": ("first_tag",),
        "duration": ("duration_bucket",),
        "tab": ("tab",),
        "video_tab": ("video_id", "tab"),
        "author_tab": ("author_id", "tab"),
        "tag_tab": ("first_tag", "tab"),
        "duration_tab": ("duration_bucket", "tab"),
    }.items()
)
STATISTICS = tuple(name for key in KEYS for name in key.features(tuple(COUNTED)))
DENSE = USER_DENSE + VIDEO_DENSE + PAST_DENSE + STATISTICS


def read_users(files: Files) -> pl.LazyFrame:
    """Return user_id, USER_SPARSE (raw values) and USER_DENSE, one row per user."""
    return pl.scan_parquet(list(files.users)).select(
        "user_id",
        *(_word(name) for name in USER_WORDS),
        *(_code(name) for name in USER_CODES),
        *(_positive(name).log1p().alias(f"log_{name}") for name in USER_COUNTS),
    )


def read_videos(files: Files) -> pl.LazyFrame:
    """Return video_id, VIDEO_SPARSE and tag (raw values), duration_s, upload_day, by video."""
    words = pl.col("tag").str.split(",").list.eval(_clean(pl.element().str.strip_chars()))
    return pl.scan_parquet(list(files.videos)).select(
        "video_id",
        *(_code(name) for name in VIDEO_CODES),
        *(_word(name) for name in VIDEO_WORDS),
        words.list.drop_nulls().alias("tag"),
        video_duration_s=_positive("video_duration") / 1000,
        upload_day=pl.col("upload_dt").str.to_date("%Y-%m-%d"),
    )


def _clean(words: pl.Expr) -> pl.Expr:
    return pl.when(~words.is_in(["", "UNKNOWN", "-124"])).then(words)


def _word(name: str) -> pl.Expr:
    return _clean(pl.col(name)).alias(name)


def _positive(name: str) -> pl.Expr:
    """Return a count; null if it is negative or not a number."""
    column = pl.col(name).fill_nan(None)
    return pl.when(column >= 0).then(column).alias(name)


def _code(name: str) -> pl.Expr:
    return _positive(name).cast(pl.Int64).alias(name)


def _log_duration_s() -> pl.Expr:
    """Return the log's duration in seconds; null if it is 0."""
    return pl.when(pl.col("duration_ms") > 0).then(pl.col("duration_ms") / 1000)


def _duration_bucket(seconds: pl.Expr) -> pl.Expr:
    """Return quarter octaves: 0 up to one second, then 4 for each doubling."""
    return (seconds.clip(lower_bound=1).log(2) * 4).floor().cast(pl.Int64)


def hour() -> pl.Expr:
    """Return the hour of `hourmin` (HHMM)."""
    return pl.col("hourmin") // 100


def count_vocabularies(
    train_log: pl.LazyFrame, users: pl.LazyFrame, videos: pl.LazyFrame, min_count: int
) -> dict[str, Vocabulary]:
    """Return the vocabulary of each table, from the impressions of the train split.

    Memory: the distinct users and videos of `train_log`, not its rows.
    """

    def collect(frame: pl.LazyFrame, column: str | pl.Expr, count: pl.Expr) -> pl.DataFrame:
        ids = pl.col(column) if isinstance(column, str) else column
        grouped = frame.group_by(ids.alias("id")).agg(count.alias("count"))
        return grouped.collect(engine="streaming")

    by_user = collect(train_log, "user_id", pl.len())
    # Rows per video and duration in the log, which may vary or be missing.
    by_video = (
        train_log.group_by("video_id", logged=_duration_bucket(_log_duration_s()))
        .agg(pl.len().alias("rows"))
        .collect(engine="streaming")
    )
    joined_users = by_user.lazy().join(users, left_on="id", right_on="user_id")
    joined_videos = by_video.lazy().join(videos, on="video_id", how="left")
    bucket = pl.coalesce("logged", _duration_bucket(pl.col("video_duration_s")))
    rows = pl.col("rows").sum()
    counts = {"user_id": by_user}
    counts |= {name: collect(joined_users, name, pl.col("count").sum()) for name in USER_SPARSE}
    counts["video_id"] = collect(by_video.lazy(), "video_id", rows)
    counts |= {name: collect(joined_videos, name, rows) for name in VIDEO_SPARSE}
    counts["duration_bucket"] = collect(joined_videos, bucket, rows)
    tags = joined_videos.select("tag", "rows").explode("tag")
    counts["tag"] = collect(tags, "tag", rows)
    counts["tab"] = collect(train_log, "tab", pl.len())
    counts["hour"] = collect(train_log, hour(), pl.len())
    return {
        name: Vocabulary.from_counts(name, count, min_count if name in OPEN_TABLES else 1)
        for name, count in counts.items()
    }


def load_vocabularies(
    folder: Path, users: pl.LazyFrame, videos: pl.LazyFrame
) -> dict[str, Vocabulary]:
    """Load the vocabularies of another prepared folder. Raises UserError if they do not match."""
    dtypes = {**users.collect_schema(), **videos.collect_schema()}
    names = ["user_id", *USER_SPARSE, "video_id", *VIDEO_SPARSE, "duration_bucket", "tag"]
    vocabularies = {}
    for name in [*names, "tab", "hour"]:
        dtype = dtypes.get(name, pl.Int64())
        item = dtype.inner if isinstance(dtype, pl.List) else dtype
        vocabularies[name] = Vocabulary.load(folder / "vocab", name, item)
    return vocabularies


def encode_users(users: pl.LazyFrame, vocabularies: Mapping[str, Vocabulary]) -> pl.LazyFrame:
    """Return `users` with indices instead of raw values."""
    return users.with_columns(_encode(name, vocabularies[name]) for name in USER_SPARSE)


def encode_videos(videos: pl.LazyFrame, vocabularies: Mapping[str, Vocabulary]) -> pl.LazyFrame:
    """Return `videos` with indices instead of raw values."""
    return videos.with_columns(
        *(_encode(name, vocabularies[name]) for name in VIDEO_SPARSE),
        pl.col("tag").map_batches(
            lambda lists: _encode_lists(lists, vocabularies["tag"]),
            return_dtype=pl.List(pl.Int64),
            is_elementwise=True,
        ),
    )


def _encode(column: str | pl.Expr, vocabulary: Vocabulary) -> pl.Expr:
    expression = pl.col(column) if isinstance(column, str) else column
    return expression.map_batches(
        lambda values: pl.Series(vocabulary.encode(values)),
        return_dtype=pl.Int64,
        is_elementwise=True,
    ).alias(vocabulary.name)


def _encode_lists(lists: pl.Series, vocabulary: Vocabulary) -> pl.Series:
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    values = vocabulary.encode(lists.explode().drop_nulls())  # an empty list becomes a null
    return pl.Series(pl.from_arrow(to_lists(lengths, values)))


def join_features(
    log: pl.DataFrame,
    users: pl.LazyFrame,
    videos: pl.LazyFrame,
    vocabularies: Mapping[str, Vocabulary],
) -> pl.DataFrame:
    """Return labels and features, except those of earlier rows, for each row of `log`, in order.

    Also returns the columns `date` and `time_ms`, and for statistics the video's first tag and the
    octave of its duration (0: up to 2 s). `users` and `videos` are encoded; only the `videos` in
    `log` are kept in memory.
    """
    seen = videos.join(log.lazy().select("video_id").unique(), on="video_id", how="semi")
    seconds = pl.coalesce(_log_duration_s(), "video_duration_s")
    day = pl.col("date").cast(pl.String).str.to_date("%Y%m%d")
    targets = [label.column for label in LABELS]
    age = (day - pl.col("upload_day")).dt.total_days().clip(lower_bound=0)
    return (
        log.lazy()
        .join(users, on="user_id", how="left", maintain_order="left")
        .join(
            seen.collect(engine="streaming").lazy(),
            on="video_id",
            how="left",
            maintain_order="left",
        )
        .select(
            "date",
            "time_ms",
            *(_encode(name, vocabularies[name]) for name in ("user_id", "video_id", "tab")),
            _encode(hour(), vocabularies["hour"]),
            _encode(_duration_bucket(seconds), vocabularies["duration_bucket"]),
            (_duration_bucket(seconds).fill_null(0) // 4).alias("octave"),
            pl.col(USER_SPARSE + VIDEO_SPARSE).fill_null(0),
            pl.col("tag").fill_null([]),
            *USER_DENSE,
            seconds.log1p().alias("log_duration_s"),
            age.alias("video_age_days"),
            *(column for column in targets if column in LOG),
            (pl.col("comment_stay_time") > 0).alias("comment_enter"),
            pl.when(pl.col("duration_ms") > 0)
            .then(pl.col("play_time_ms") >= 0.95 * pl.col("duration_ms"))
            .alias("finish"),
        )
        .with_columns(
            pl.col(*USER_DENSE, *VIDEO_DENSE, *targets).cast(pl.Float32),
            first_tag=pl.col("tag").list.first().fill_null(0),
        )
        .collect()
    )
