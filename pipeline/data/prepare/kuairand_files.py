"""KuaiRand's files: names, columns, and typed copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.data.prepare.csv_table import ColumnKind, csv_to_parquet
from pipeline.io.errors import UserError

EDITIONS = ("pure", "1k", "27k")

LOG: dict[str, ColumnKind] = {
    "user_id": "integer",
    "video_id": "integer",
    "date": "day",
    "hourmin": "integer",
    "time_ms": "integer",
    "is_click": "flag",
    "is_like": "flag",
    "is_follow": "flag",
    "is_comment": "flag",
    "is_forward": "flag",
    "is_hate": "flag",
    "long_view": "flag",
    "play_time_ms": "integer",
    "duration_ms": "integer",
    "profile_stay_time": "integer",
    "comment_stay_time": "integer",
    "is_profile_enter": "flag",
    "is_rand": "flag",
    "tab": "integer",
}
USER_WORDS = (
    "user_active_degree",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)
USER_CODES = (
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    *(f"onehot_feat{i}" for i in range(18)),
)
USER_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
VIDEO_WORDS = ("video_type", "upload_type")
VIDEO_CODES = ("author_id", "music_id", "music_type")
# 'whole', not 'integer': the files write code columns with gaps as 4.0.
USERS: dict[str, ColumnKind] = {
    "user_id": "integer",
    **dict.fromkeys(USER_WORDS, "text"),
    **dict.fromkeys(USER_CODES, "whole"),
    **dict.fromkeys(USER_COUNTS, "number"),
}
VIDEOS: dict[str, ColumnKind] = {
    "video_id": "integer",
    **dict.fromkeys(VIDEO_WORDS, "text"),
    **dict.fromkeys(VIDEO_CODES, "whole"),
    "upload_dt": "date",
    "video_duration": "number",
    "tag": "text",
}


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one edition: CSV, or their typed Parquet copies."""

    logs: tuple[Path, ...]
    users: tuple[Path, ...]
    videos: tuple[Path, ...]


def find_files(raw: Path, *, with_random: bool) -> Files:
    """Find the CSV files of the edition in `raw`; large editions split some into parts.

    Raises UserError for a missing folder or file, no edition, or several editions.
    """
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder; give the folder of KuaiRand's CSV files")
    editions = [e for e in EDITIONS if any(raw.glob(f"*_{e}*.csv"))]
    if len(editions) != 1:
        what = f"files of {' and '.join(editions)}" if editions else "no log_standard_*.csv"
        raise UserError(
            f"{raw}: {what}; give the folder with the CSV files of one edition "
            f"(names with _{', _'.join(EDITIONS)})"
        )
    (edition,) = editions
    logs = _glob(raw, f"log_standard_*_{edition}*.csv")
    if with_random:
        logs += _glob(raw, f"log_random_*_{edition}*.csv")
    return Files(
        logs=logs,
        users=_glob(raw, f"user_features_{edition}*.csv"),
        videos=_glob(raw, f"video_features_basic_{edition}*.csv"),
    )


def _glob(raw: Path, pattern: str) -> tuple[Path, ...]:
    found = tuple(sorted(raw.glob(pattern)))
    if not found:
        raise UserError(f"{raw}: no file {pattern}; download the missing file")
    return found


def stage_files(files: Files, stage: Path, step: Callable[[str], None]) -> Files:
    """Write typed Parquet copies of `files` to folder `stage`; calls `step` after each.

    Raises UserError for missing columns, invalid values or duplicate keys.
    """

    def copy(path: Path, kinds: Mapping[str, ColumnKind]) -> Path:
        out = stage / f"{path.stem}.parquet"
        csv_to_parquet(path, kinds, out)
        step(f"read {path.name}")
        return out

    users = tuple(copy(path, USERS) for path in files.users)
    _check_key(users, "user_id", files.users[0])
    videos = tuple(copy(path, VIDEOS) for path in files.videos)
    _check_key(videos, "video_id", files.videos[0])
    return Files(logs=tuple(copy(path, LOG) for path in files.logs), users=users, videos=videos)


def _check_key(copies: Sequence[Path], key: str, source: Path) -> None:
    twice = pl.scan_parquet(list(copies)).group_by(key).len().filter(pl.col("len") > 1).head(1)
    for value, times in twice.collect(engine="streaming").rows():
        raise UserError(f"{source}: column {key}: {value} occurs {times} times; keep one row")
