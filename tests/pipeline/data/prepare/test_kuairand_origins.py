"""Rolling origins: what is trained on and chosen by knows nothing of later labels, or of later
rows; and rows before the log count in statistics and histories."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.data.prepare.kuairand_features import COUNTED
from pipeline.data.schema import SPLIT, Schema
from pipeline.io.errors import UserError
from tests.pipeline.data.prepare.small_kuairand import DAYS, FLAGS, make_log, write_raw
from tests.pipeline.data.prepared import as_set, feature_columns, raw_ids, read, read_all

ORIGINS = list(zip(DAYS, DAYS[1:], DAYS[2:], strict=False))
"""Last training day, validation day, test day."""
EARLY = [
    # user, video, pos, history_len, last_time_ms (04-20 12:00 UTC), long_view, is_like
    (0, 1, 1, 2, 1_650_456_000_000, 1, 0),
    (0, 2, 2, 2, 1_650_456_000_000, 0, 1),
    (3, 2, 7, 7, 1_650_356_000_000, 1, 0),
]


def prepare(
    folder: Path, log: pl.DataFrame, val: int, test: int, early: Path | None = None
) -> Path:
    out = folder / "out"
    prepare_kuairand(
        write_raw(folder / "raw", log=log),
        out,
        val_from=val,
        test_from=test,
        until=test,
        early=early,
        frozen_labels=list(COUNTED),
        max_history=4,
        min_count=1,
    )
    return out


def contents(folder: Path, split: SPLIT, *, labels: bool) -> list[str]:
    schema = Schema.load(folder)
    columns = feature_columns(schema) + [one.column for one in schema.labels if labels]
    return as_set(read(folder, split).select(columns))


def flipped(log: pl.DataFrame, after: int) -> pl.DataFrame:
    """All labels, and what they are made of, of days after `after` are others."""
    changes = [(1 - pl.col(name)).alias(name) for name in FLAGS if name != "is_rand"]
    changes += [(90_000 - pl.col("play_time_ms")).alias("play_time_ms")]
    changes += [(500 - pl.col("comment_stay_time")).alias("comment_stay_time")]
    later = pl.col("date") > after
    return log.with_columns(
        pl.when(later).then(new).otherwise(pl.col(new.meta.output_name())) for new in changes
    )


@pytest.mark.parametrize(("last", "val", "test"), ORIGINS)
def test_labels_after_an_origin_change_no_input_of_training_and_validation(
    last: int, val: int, test: int, tmp_path: Path
) -> None:
    log = make_log(300)
    for name in ("plain", "later", "test_day"):
        (tmp_path / name).mkdir()
    plain = prepare(tmp_path / "plain", log, val, test)
    later = prepare(tmp_path / "later", flipped(log, last), val, test)
    tests = prepare(tmp_path / "test_day", flipped(log, val), val, test)
    assert contents(plain, "train", labels=True) == contents(later, "train", labels=True)
    assert contents(plain, "val", labels=False) == contents(later, "val", labels=False)
    assert contents(plain, "val", labels=True) != contents(later, "val", labels=True)
    # Statistics are those of all earlier days: the test day knows the validation day's labels,
    # and not its own.
    assert contents(plain, "test", labels=False) == contents(tests, "test", labels=False)
    first, second = Schema.load(plain), Schema.load(later)
    assert (first.tables, first.dense) == (second.tables, second.dense)


@pytest.mark.parametrize(("last", "val", "test"), ORIGINS)
def test_rows_after_the_test_day_change_nothing(
    last: int, val: int, test: int, tmp_path: Path
) -> None:
    log = make_log(300)
    for name in ("all", "cut"):
        (tmp_path / name).mkdir()
    found = prepare(tmp_path / "all", log, val, test)
    cut = prepare(tmp_path / "cut", log.filter(pl.col("date") <= test), val, test)
    assert Schema.load(found) == Schema.load(cut)
    assert as_set(read_all(found)) == as_set(read_all(cut))


@pytest.mark.parametrize("packed", [False, True])
def test_rows_before_the_log_are_trained_on_and_count(packed: bool, tmp_path: Path) -> None:
    names = ["user_id", "video_id", "pos", "history_len", "last_time_ms", "long_view", "is_like"]
    text = pl.DataFrame(EARLY, schema=names, orient="row").write_csv()
    early = tmp_path / ("early.csv.gz" if packed else "early.csv")
    early.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    (tmp_path / "with").mkdir()
    log = make_log(300)
    out = prepare(tmp_path / "with", log, DAYS[1], DAYS[2], early)
    schema = Schema.load(out)
    train = read(out, "train")
    rows = train.filter(pl.col("is_click").is_null())
    assert len(rows) == len(EARLY)
    assert rows.select("finish", "comment_enter", "is_follow").null_count().row(0) == (3, 3, 3)
    assert schema.splits["train"].missing["click"] == len(EARLY)
    assert sorted(rows["long_view"]) == [0, 1, 1]
    assert rows["tab"].to_list() == rows["hour"].to_list() == [0, 0, 0]
    videos, users = raw_ids(out, "video_id"), raw_ids(out, "user_id")
    first = train.filter(pl.col("is_click").is_not_null(), pl.col("user_id") != 0)
    own = first.filter(pl.col("user_id").replace_strict(users, default=None) == "0")
    # The first day's rows of user 0 know the early long view of video 1, and its like of video 2.
    assert len(own)
    for column, video in (("hist_long_view_video", "1"), ("hist_like_video", "2")):
        for bag in own[column]:
            assert videos[bag[-1]] == video or len(bag) == 4
    (second,) = rows.filter(
        pl.col("video_id").replace_strict(videos) == "2", pl.col("is_like") == 1
    )["log_past_impressions"]
    assert second == pytest.approx(0.6931, abs=1e-3)  # log(1 + 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,video_id\n1,2\n", "line 1: no column pos"),
        ("user_id,video_id,pos,history_len,last_time_ms,long_view,is_like\n", "no rows"),
        (
            "user_id,video_id,pos,history_len,last_time_ms,long_view,is_like\n"
            "1,2,1,1,1651300000000,0,1\n",
            "has rows of 20220430, but the log starts on 20220429",
        ),
        (
            "user_id,video_id,pos,history_len,last_time_ms,long_view,is_like\n"
            "1,2,1,1,1650000000000,0,1\n1,3,0,0,1650000000000,0,1\n",
            "row 2: pos is 0, but ranks are 1 to history_len .0.",
        ),
        (
            "user_id,video_id,pos,history_len,last_time_ms,long_view,is_like\n"
            "1,2,1,1,1650000000000,0,1\n1,3,-900,2,1650000000000,0,1\n",
            "row 2: pos is -900, but ranks are 1 to history_len .2.",
        ),
        (
            "user_id,video_id,pos,history_len,last_time_ms,long_view,is_like\n"
            "1,2,1,1,1650000000000,0,1\n1,3,3,2,1650000000000,0,1\n",
            "row 2: pos is 3, but ranks are 1 to history_len .2.",
        ),
    ],
)
def test_a_bad_file_of_early_rows_is_rejected(text: str, message: str, tmp_path: Path) -> None:
    early = tmp_path / "early.csv"
    early.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        prepare(tmp_path, make_log(), DAYS[1], DAYS[2], early)
    assert not (tmp_path / "out").exists()
