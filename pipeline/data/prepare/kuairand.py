"""Prepares KuaiRand's CSV files (Gao et al., CIKM 2022).

    CSV -> typed Parquet -> buckets of users, each sorted and without duplicate rows
        -> vocabularies, counted on the train split -> encoded user and video features
        -> per bucket: join, labels; count impressions of users, videos, ... by day
        -> per bucket: past events, statistics of earlier days -> one shard per day and bucket

A bucket contains all rows of its users, and therefore their past, and fits in memory. Besides one
bucket, only the distinct users and videos are in memory. Splits are by the log's `date`, a user's
past by `time_ms` (they disagree for some rows): it crosses splits only forward in time.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from pipeline.data.prepare.kuairand_buckets import sort_bucket, split_by_user
from pipeline.data.prepare.kuairand_early import stage_early
from pipeline.data.prepare.kuairand_features import (
    COUNTED,
    DENSE,
    KEYS,
    LABELS,
    SPARSE,
    count_vocabularies,
    encode_users,
    encode_videos,
    join_features,
    load_vocabularies,
    read_users,
    read_videos,
)
from pipeline.data.prepare.kuairand_files import find_files, stage_files
from pipeline.data.prepare.kuairand_shards import bucket_shards, frozen_from, with_statistics
from pipeline.data.prepare.statistics import Ledger
from pipeline.data.prepare.writer import ProgressCallback, ShardWriter, new_folder, no_progress
from pipeline.data.schema import SPLIT, Schema
from pipeline.features.vocabulary import Vocabulary
from pipeline.io.errors import UserError, nearest

BUCKETS_PER_PARTITION = 16  # for the counts by video, author, ...: far fewer than rows

FROZEN_LABELS = ("click", "long_view", "finish")
"""Labels whose user statistics and histories are frozen within val and test. If updated, they would
rank a user's rows after a click above those of earlier days, which lowers GAUC from .64 to .60 on
KuaiRand-Pure. Rare labels affect few rows and gain from updates."""


def prepare_kuairand(
    raw: Path,
    out: Path,
    *,
    val_from: int = 20220502,
    test_from: int = 20220505,
    until: int | None = None,
    early: Path | None = None,
    max_history: int = 30,
    min_count: int = 2,
    smoothing: float = 20.0,
    frozen_labels: Sequence[str] = FROZEN_LABELS,
    vocabulary_from: Path | None = None,
    rows_per_group: int = 8_192,
    bytes_per_bucket: int = 1 << 27,
    with_random: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback = no_progress,
) -> Schema:
    """Prepare the edition of KuaiRand in folder `raw` as folder `out`.

    Args:
        val_from, test_from: days (YYYYMMDD): train < `val_from` <= val < `test_from` <= test.
        until: last day; rows of later days are dropped before anything is counted.
        early: file of rows before those of the log (see kuairand_early.py), added to train.
        min_count: minimum number of rows of an id in the train split to enter a vocabulary.
        smoothing: number of rows at the overall rate added to the rows of a key.
        frozen_labels: labels whose user statistics (pipeline/data/prepare/statistics.py) and
            histories use earlier days only and do not change within val and test; other histories
            include all earlier rows.
        bytes_per_bucket: approximate size of a bucket of the log's CSV; memory is about 20 times
            as much.
        with_random: also use the log of randomly exposed videos.
        vocabulary_from: prepared folder whose vocabularies to use, for a model trained on it; then
            any split may be empty.

    Raises:
        UserError: invalid options, files or values, a full disk, or an `out` that must not be
            replaced.
    """
    _check_options(
        smoothing,
        frozen_labels,
        max_history=max_history,
        min_count=min_count,
        rows_per_group=rows_per_group,
        bytes_per_bucket=bytes_per_bucket,
    )
    split_of = _by_day(val_from, test_from)
    found = find_files(Path(raw), with_random=with_random)
    size = sum(path.stat().st_size for path in (*found.logs, *([early] if early else [])))
    num_buckets = 1 + size // bytes_per_bucket
    num_files = len(found.logs + found.users + found.videos)
    step = _Steps(progress, total=num_files + 2 + 3 * num_buckets)

    with (
        new_folder(Path(out), overwrite=overwrite) as folder,
        TemporaryDirectory(dir=folder) as temporary,
    ):
        stage = Path(temporary)
        files = stage_files(found, stage, step)
        if until is not None:
            for path in files.logs:
                _drop_after(path, until)
        if vocabulary_from is None:
            _check_days(files.logs, split_of)
        logs = files.logs if early is None else (*files.logs, stage_early(early, files.logs, stage))
        buckets = _sort_buckets(logs, stage, num_buckets, step)
        users, videos = read_users(files), read_videos(files)
        if vocabulary_from is None:
            train = pl.scan_parquet(buckets).filter(pl.col("date") < val_from)
            vocabularies = count_vocabularies(train, users, videos, min_count)
        else:
            vocabularies = load_vocabularies(Path(vocabulary_from), users, videos)
        users, videos = encode_users(users, vocabularies), encode_videos(videos, vocabularies)
        users.sink_parquet(stage / "users.parquet")
        videos.sink_parquet(stage / "videos.parquet")
        step("counted the vocabularies")
        ledger, joined = _join_buckets(buckets, stage, vocabularies, step)
        writer = ShardWriter(
            folder, sparse=SPARSE, dense=DENSE, labels=LABELS, rows_per_group=rows_per_group
        )
        for number, (bucket, path) in enumerate(zip(buckets, joined, strict=True)):
            log, features = pl.read_parquet(bucket), pl.read_parquet(path)
            path.unlink()
            features = features.with_columns(frozen_from(val_from, test_from))
            features = with_statistics(features, ledger, frozen_labels, smoothing)
            for day, part, columns in bucket_shards(log, features, max_history, frozen_labels):
                writer.write(split_of(day), f"{day}-{number:04}-{part:02}", columns)
            step(f"wrote bucket {number + 1} of {num_buckets}")
        options = f"--val-from {val_from} --test-from {test_from} --max-history {max_history}"
        options += f" --frozen-labels '{','.join(frozen_labels)}'"
        options += "" if until is None else f" --until {until}"
        options += "" if early is None else f" --early {shlex.quote(early.name)}"
        return writer.finish(
            dataset="kuairand",
            command=f"prepare kuairand {options} --min-count {min_count} --smoothing {smoothing:g}",
            user_column="user_id",
            vocabularies=list(vocabularies.values()),
        )


class _Steps:
    """Reports steps to a progress callback."""

    def __init__(self, progress: ProgressCallback, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, what: str) -> None:
        self._done += 1
        self._progress(self._done, self._total, what)


def _drop_after(log: Path, until: int) -> None:
    kept = log.with_suffix(".kept")
    pl.scan_parquet(log).filter(pl.col("date") <= until).sink_parquet(kept)
    kept.replace(log)


def _sort_buckets(logs: Sequence[Path], stage: Path, num_buckets: int, step: _Steps) -> list[Path]:
    """The log's rows, a file a bucket of users, sorted."""
    buckets = []
    for number, rows in enumerate(split_by_user(logs, stage, num_buckets)):
        buckets.append(sort_bucket(rows, stage / f"sorted-{number}.parquet"))
        step(f"sorted bucket {number + 1} of {num_buckets}")
    return buckets


def _join_buckets(
    buckets: Sequence[Path], stage: Path, vocabularies: Mapping[str, Vocabulary], step: _Steps
) -> tuple[Ledger, list[Path]]:
    """The features of each bucket's rows, a file a bucket, and the counts of all by day."""
    partitions = 1 + len(buckets) // BUCKETS_PER_PARTITION
    shared = [key for key in KEYS if not key.of_user]
    ledger = Ledger(stage / "statistics", shared, COUNTED, partitions)
    joined = [stage / f"joined-{number}.parquet" for number in range(len(buckets))]
    for number, (bucket, path) in enumerate(zip(buckets, joined, strict=True)):
        features = join_features(
            pl.read_parquet(bucket),
            pl.scan_parquet(stage / "users.parquet"),
            pl.scan_parquet(stage / "videos.parquet"),
            vocabularies,
        )
        ledger.add(features)
        features.write_parquet(path)
        step(f"joined bucket {number + 1} of {len(buckets)}")
    ledger.close()
    step("added up the statistics")
    return ledger, joined


def _check_options(smoothing: float, frozen_labels: Sequence[str], **counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name}: {value} must be at least 1")
    if not smoothing > 0:
        raise UserError(f"smoothing: {smoothing} must be above 0")
    for name in frozen_labels:
        if name not in COUNTED:
            raise UserError(
                f"frozen_labels: {name!r} has no statistics; {nearest(name, list(COUNTED))}"
            )


def _by_day(val_from: int, test_from: int) -> Callable[[int], SPLIT]:
    """Return a function that maps a day to its split."""
    for name, day in (("val_from", val_from), ("test_from", test_from)):
        try:
            datetime.strptime(str(day), "%Y%m%d")
        except ValueError as error:
            raise UserError(f"{name}: {day} is not a day; write YYYYMMDD") from error
    if val_from >= test_from:
        raise UserError(f"val_from: {val_from} must be before test_from ({test_from})")
    return lambda day: "train" if day < val_from else "val" if day < test_from else "test"


def _check_days(logs: Sequence[Path], split_of: Callable[[int], SPLIT]) -> None:
    """Check that splits are not empty, except test, whose days may not be published yet."""
    dates = pl.scan_parquet(list(logs)).select(pl.col("date").unique())
    days = sorted(dates.collect(engine="streaming")["date"])
    found = f"{days[0]} to {days[-1]}" if days else "no rows at all"
    splits = {split_of(day) for day in days}
    for split, option in (("train", "val_from"), ("val", "val_from and test_from")):
        if split not in splits:
            raise UserError(
                f"{logs[0].stem}.csv: no day in the {split} split, the log has {found}; "
                f"change {option}"
            )
