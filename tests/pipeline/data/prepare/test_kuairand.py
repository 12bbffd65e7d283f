"""KuaiRand's files become the rows they should, whatever their number, order and faults."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.data.schema import Schema
from pipeline.features.vocabulary import hash_integers
from pipeline.io.errors import UserError
from tests.pipeline.data.prepare.small_kuairand import (
    FLAGS,
    IN_ORDER,
    NUM_USERS,
    make_log,
    make_users,
    make_videos,
    write_raw,
)
from tests.pipeline.data.prepared import as_set, feature_columns, raw_ids, read, read_all

Row = dict[str, Any]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw") / "raw")


@pytest.fixture(scope="module")
def small(raw: Path) -> Path:
    """The small files, prepared with every id in the vocabularies."""
    prepare_kuairand(raw, raw.parent / "small", max_history=4, min_count=1)
    return raw.parent / "small"


@pytest.fixture(scope="module")
def in_order() -> list[Row]:
    """The small log's rows in the order in which the prepared folder has them."""
    return make_log().sort(IN_ORDER).to_dicts()


def decode(folder: Path, table: str, codes: list[int]) -> list[str]:
    names = raw_ids(folder, table)
    return [names[code] for code in codes]


# What the rows say


def test_rows_are_split_by_date_and_sorted_by_time(small: Path, in_order: list[Row]) -> None:
    schema = Schema.load(small)
    dates = [row["date"] for row in in_order]
    assert schema.splits["train"].rows == sum(date < 20220502 for date in dates)
    assert schema.splits["val"].rows == sum(20220502 <= date < 20220505 for date in dates)
    assert schema.splits["test"].rows == sum(date >= 20220505 for date in dates)
    users = decode(small, "user_id", read_all(small)["user_id"].to_list())
    # Of the same time, users go by number: nothing is left to chance.
    assert users == [str(row["user_id"]) for row in in_order]
    tabs = decode(small, "tab", read_all(small)["tab"].to_list())
    assert tabs == [str(row["tab"]) for row in in_order]


def test_labels_are_the_logs_own_and_the_derived_ones(small: Path, in_order: list[Row]) -> None:
    table = read_all(small)
    for column in ("is_click", "long_view", "is_like", "is_follow", "is_hate", "is_profile_enter"):
        assert table[column].to_list() == [float(row[column]) for row in in_order]
    assert table["comment_enter"].to_list() == [
        float(row["comment_stay_time"] > 0) for row in in_order
    ]
    assert table["finish"].to_list() == [
        float(row["play_time_ms"] >= 0.95 * row["duration_ms"]) if row["duration_ms"] else None
        for row in in_order
    ]
    positives = Schema.load(small).splits["train"].positives
    assert positives["finish"] == read(small, "train")["finish"].sum()


def test_categories_and_defaults_of_the_labels(small: Path) -> None:
    labels = {label.name: label for label in Schema.load(small).labels}
    watch = {"click", "long_view", "finish"}
    assert {name for name, label in labels.items() if label.category == "watch"} == watch
    assert {name for name, label in labels.items() if label.default} == watch | {
        "like",
        "comment_enter",
        "profile_enter",
    }


def test_features_of_users_and_videos_are_their_files(small: Path, in_order: list[Row]) -> None:
    table = read_all(small)
    users = {row["user_id"]: row for row in make_users().to_dicts()}
    videos = {row["video_id"]: row for row in make_videos().to_dicts()}
    degree, author = raw_ids(small, "user_active_degree"), raw_ids(small, "author_id")
    tags = raw_ids(small, "tag")
    for row, seen in zip(in_order, table.iter_rows(named=True), strict=True):
        user, video = users.get(row["user_id"]), videos[row["video_id"]]
        if user is None:  # not in the user file: an id and nothing else
            assert row["user_id"] == NUM_USERS - 1
            assert seen["user_active_degree"] == 0
            assert seen["onehot_feat3"] == 0
            assert seen["log_fans_user_num"] is None
        else:
            assert degree[seen["user_active_degree"]] == user["user_active_degree"]
            fans = user["fans_user_num"]
            expected = None if fans < 0 else pytest.approx(math.log1p(fans))
            assert seen["log_fans_user_num"] == expected
        if video["author_id"] < 0:
            assert seen["author_id"] == 0
        else:
            assert author[seen["author_id"]] == str(video["author_id"])
        assert ",".join(tags[code] for code in seen["tag"]) == (video["tag"] or "")
        if video["video_type"] == "UNKNOWN":
            assert seen["video_type"] == 0
        if video["upload_dt"] is None:
            assert seen["video_age_days"] is None
        elif video["upload_dt"] == "2022-05-30":  # later than it was seen
            assert seen["video_age_days"] == 0
        duration = row["duration_ms"] or video["video_duration"]
        bucket = seen["duration_bucket"]
        if duration is None:
            assert (bucket, seen["log_duration_s"]) == (0, None)
        else:
            octaves = 4 * math.log2(max(1, duration / 1000))
            assert raw_ids(small, "duration_bucket")[bucket] == str(math.floor(octaves))
            assert seen["log_duration_s"] == pytest.approx(math.log1p(duration / 1000))
        assert raw_ids(small, "hour")[seen["hour"]] == str(row["hourmin"] // 100)


def test_the_past_is_what_a_loop_finds_and_crosses_splits(small: Path, in_order: list[Row]) -> None:
    table = read_all(small)
    video_name, author_name = raw_ids(small, "video_id"), raw_ids(small, "author_id")
    author_of = {row["video_id"]: row["author_id"] for row in make_videos().to_dicts()}
    crossed = frozen = 0
    for row, seen in zip(in_order, table.iter_rows(named=True), strict=True):
        past = [
            other
            for other in in_order
            if other["user_id"] == row["user_id"] and other["time_ms"] < row["time_ms"]
        ]
        past.sort(key=lambda other: (other["time_ms"], other["video_id"]))
        assert seen["log_past_impressions"] == pytest.approx(math.log1p(len(past)))
        gap = math.log1p((row["time_ms"] - past[-1]["time_ms"]) / 1000) if past else None
        assert seen["log_seconds_since_last"] == (gap if gap is None else pytest.approx(gap))
        frozen_from = next(
            (first for first in (20220505, 20220502) if row["date"] >= first), row["date"]
        )
        days_before = list(itertools.takewhile(lambda other: other["date"] < frozen_from, past))  # noqa: B023
        for event, column, known in (("click", "is_click", days_before), ("like", "is_like", past)):
            happened = [other["video_id"] for other in known if other[column]]
            assert seen[f"log_past_{event}s"] == pytest.approx(math.log1p(len(happened)))
            last = happened[::-1][:4]
            bag = [video_name[code] for code in seen[f"hist_{event}_video"]]
            assert bag == [str(video) for video in last]
            authors = [author_name.get(code, "-1") for code in seen[f"hist_{event}_author"]]
            assert authors == [str(author_of[video]) for video in last]
        crossed += row["date"] >= 20220502 and any(other["date"] < 20220502 for other in past)
        frozen += len(past) - len(days_before)
    assert crossed
    assert frozen


CONSEQUENCES = (
    "is_click",
    "is_like",
    "long_view",
    "play_time_ms",
    "profile_stay_time",
    "comment_stay_time",
    "is_profile_enter",
)


@settings(max_examples=4, deadline=None)
@given(position=st.integers(0, 10_000), column=st.sampled_from(CONSEQUENCES))
def test_what_a_row_leads_to_is_in_no_feature_of_it_or_of_earlier_rows(
    small: Path, position: int, column: str
) -> None:
    log = make_log()
    position %= log.height
    row = log.row(position, named=True)
    changed = 1 - pl.col(column) if column in FLAGS else pl.lit(77_777)
    here = pl.int_range(log.height) == position
    other = log.with_columns(pl.when(here).then(changed).otherwise(pl.col(column)).alias(column))
    features = feature_columns(Schema.load(small))
    # Later rows of the user know of it, and rows of later days know of its day.
    earlier = (pl.col("user_id") != row["user_id"]) | (pl.col("time_ms") <= row["time_ms"])
    unaffected = earlier & (pl.col("date") <= row["date"])
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        prepare_kuairand(
            write_raw(Path(folder) / "raw", log=other), out, max_history=4, min_count=1
        )
        before, after = (
            read_all(path).select(features).filter(of.sort(IN_ORDER).select(unaffected).to_series())
            for path, of in ((small, log), (out, other))
        )
    assert as_set(before) == as_set(after)


# Vocabularies


def test_only_ids_seen_often_enough_in_train_are_in_a_vocabulary(raw: Path, tmp_path: Path) -> None:
    def number(value: int) -> pl.Expr:
        return pl.lit(value, pl.Int64)

    log = make_log(120)
    rare = log.filter(pl.col("date") < 20220502).head(1)
    rare = rare.with_columns(video_id=number(900), user_id=number(901))
    later = log.filter(pl.col("date") >= 20220502).head(2)
    later = later.with_columns(video_id=number(902), tab=number(9))
    log = pl.concat([log, rare, later])
    out = tmp_path / "out"
    schema = prepare_kuairand(write_raw(tmp_path / "raw", log=log), out, min_count=2)
    counts = dict(log.filter(pl.col("date") < 20220502)["video_id"].value_counts().rows())
    names = raw_ids(out, "video_id")
    assert set(names.values()) == {str(video) for video, n in counts.items() if n >= 2}
    assert schema.table("video_id").vocab_size == len(names) + 1
    by_index = [counts[int(names[index])] for index in sorted(names)]
    assert by_index == sorted(by_index, reverse=True)
    table = read_all(out)
    hashes = schema.table("video_id").vocab_size + hash_integers(pl.Series([900, 902]).to_numpy())
    assert table["video_id"].is_in(hashes.tolist()).sum() == 3
    # A small category needs one row, but it needs it in the train split.
    assert "9" not in raw_ids(out, "tab").values()
    assert (table["tab"] >= schema.table("tab").vocab_size).sum() == 2


def test_later_days_are_encoded_as_the_days_trained_on(
    small: Path, raw: Path, tmp_path: Path
) -> None:
    schema = Schema.load(small)
    later = prepare_kuairand(
        raw, tmp_path / "later", val_from=19990101, test_from=19990102, vocabulary_from=small
    )
    assert later.splits["train"].rows == later.splits["val"].rows == 0
    assert later.splits["test"].rows == sum(split.rows for split in schema.splits.values())
    assert later.tables == schema.tables
    assert schema.with_splits_of(later, tmp_path).dense == schema.dense
    other = prepare_kuairand(raw, tmp_path / "other", min_count=1000)
    with pytest.raises(UserError, match=r"vocabulary .* differs from that of the model"):
        schema.with_splits_of(other, tmp_path / "other")
