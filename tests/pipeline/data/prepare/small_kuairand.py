"""Small files in KuaiRand's own layout, made up, to be spoiled at will."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.data.prepare.kuairand_files import LOG, USER_CODES, USER_COUNTS, USER_WORDS

FLAGS = [name for name, kind in LOG.items() if kind == "flag"]
DAYS = (20220429, 20220430, 20220501, 20220502, 20220505)
LOG_NAME = "log_standard_4_22_to_5_08_pure.csv"
USERS_NAME = "user_features_pure.csv"
VIDEOS_NAME = "video_features_basic_pure.csv"

NUM_USERS, NUM_VIDEOS = 12, 20
# The order of a prepared folder's rows, if it has one bucket.
IN_ORDER = list(dict.fromkeys(["date", "time_ms", "user_id", "video_id", *LOG]))


def make_log(rows: int = 400, seed: int = 0) -> pl.DataFrame:
    """A log of few users and few times, so that equal times are frequent; sorted by nothing."""
    random = np.random.default_rng(seed)
    day = random.integers(len(DAYS), size=rows)
    duration = random.choice([0, 1_000, 20_000, 60_000], size=rows)
    columns = {
        "user_id": random.integers(NUM_USERS, size=rows),
        "video_id": random.integers(NUM_VIDEOS, size=rows),
        "date": np.array(DAYS)[day],
        "hourmin": 100 * random.integers(24, size=rows),
        "time_ms": 1_651_000_000_000 + 1_000 * (50 * day + random.integers(40, size=rows)),
        **{name: random.integers(2, size=rows) for name in FLAGS},
        "is_rand": np.zeros(rows, np.int64),
        "play_time_ms": random.integers(80_000, size=rows),
        "duration_ms": duration,
        "profile_stay_time": random.integers(2, size=rows),
        "comment_stay_time": random.integers(2, size=rows) * 500,
        "tab": random.integers(3, size=rows),
    }
    return pl.DataFrame(columns).select(*LOG).unique(maintain_order=True)


def make_users() -> pl.DataFrame:
    """All users but the last: the files do not know everybody."""
    number = np.arange(NUM_USERS - 1)
    words = {name: [f"word{n % 2}" for n in number] for name in USER_WORDS}
    codes = {name: [None, *(number[1:] % 3).astype(float)] for name in USER_CODES}
    counts = {name: [-124, *number[1:]] for name in USER_COUNTS}
    return pl.DataFrame({"user_id": number} | words | codes | counts, strict=False)


def make_videos() -> pl.DataFrame:
    number = np.arange(NUM_VIDEOS)
    return pl.DataFrame(
        {
            "video_id": number,
            "author_id": number % 5 - 1,  # -1 is unknown
            "video_type": ["UNKNOWN", *["NORMAL"] * (NUM_VIDEOS - 1)],
            "upload_dt": [None, *["2022-04-28"] * (NUM_VIDEOS - 2), "2022-05-30"],
            "upload_type": ["Web"] * NUM_VIDEOS,
            "video_duration": [None, *[20_000.0] * (NUM_VIDEOS - 1)],
            "music_id": [None, *(number[1:] % 4).astype(float)],
            "music_type": [9.0] * NUM_VIDEOS,
            "tag": [None, "3", "3,5", *["5"] * (NUM_VIDEOS - 3)],
        },
        strict=False,
    )


def write_raw(folder: Path, *, log: pl.DataFrame | None = None, edition: str = "pure") -> Path:
    """Write an edition's three files into `folder`."""
    folder.mkdir(exist_ok=True)
    tables: dict[str, Any] = {
        LOG_NAME: make_log() if log is None else log,
        USERS_NAME: make_users(),
        VIDEOS_NAME: make_videos(),
    }
    for name, table in tables.items():
        table.write_csv(folder / name.replace("pure", edition))
    return folder
