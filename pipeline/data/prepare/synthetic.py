"""Generates a prepared folder with known probabilities: any number of rows, in bounded memory.

It resembles prepared KuaiRand (a subset of its features, the same six tasks) and contains the true
probability of each label, so that every metric can be compared with the best possible value. There
are ten days: eight for training, one for validation, one for test.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.data.prepare.planted import NUM_DAYS, PlantedWorld
from pipeline.data.prepare.synthetic_features import (
    DENSE,
    LABELS,
    SPARSE,
    Encoder,
    count_vocabularies,
)
from pipeline.data.prepare.writer import ProgressCallback, ShardWriter, new_folder, no_progress
from pipeline.data.schema import SPLIT, Schema
from pipeline.io.errors import UserError

TRAIN_DAYS = 8
FIRST_DAY = datetime(2022, 4, 22, tzinfo=UTC)
MAX_ROWS = 10**10  # with their users and videos in memory
MIN_ROWS = 10 * NUM_DAYS  # at least about ten rows per day


def prepare_synthetic(
    out: Path,
    *,
    rows: int,
    seed: int,
    num_users: int | None = None,
    num_videos: int | None = None,
    max_history: int = 20,
    min_count: int = 2,
    rows_per_group: int = 8_192,
    blocks_per_chunk: int = 4,
    overwrite: bool = False,
    progress: ProgressCallback = no_progress,
) -> Schema:
    """Generate a world from `seed` and write `rows` impressions as folder `out`.

    By default users have 200 rows and videos 300 on average. The rows do not depend on the number
    of blocks (of 65,536 rows) processed at a time. Memory: a chunk, and 12 * max_history bytes per
    user. Raises UserError for invalid options, a full disk, or an `out` that must not be replaced.
    """
    num_users = max(20, rows // 200) if num_users is None else num_users
    num_videos = max(20, rows // 300) if num_videos is None else num_videos
    for name, value, least in (
        ("rows", rows, MIN_ROWS),
        ("seed", seed, 0),
        ("num_users", num_users, 1),
        ("num_videos", num_videos, 1),
        ("max_history", max_history, 1),
        ("min_count", min_count, 1),
        ("rows_per_group", rows_per_group, 1),
        ("blocks_per_chunk", blocks_per_chunk, 1),
    ):
        if value < least:
            raise UserError(f"{name}: {value} must be at least {least}")
    if rows > MAX_ROWS:
        raise UserError(f"rows: {rows} must be at most {MAX_ROWS}")
    with new_folder(Path(out), overwrite=overwrite) as folder:
        world = PlantedWorld(seed, rows, num_users, num_videos)
        vocabularies = count_vocabularies(world, TRAIN_DAYS, min_count)
        encoder = Encoder(world, vocabularies, max_history)
        writer = ShardWriter(
            folder, sparse=SPARSE, dense=DENSE, labels=LABELS, rows_per_group=rows_per_group
        )
        firsts = range(0, world.num_blocks, blocks_per_chunk)
        for number, first in enumerate(firsts):
            blocks = range(first, min(first + blocks_per_chunk, world.num_blocks))
            for day, columns in encoder.encode(world.draw(blocks)):
                date = FIRST_DAY + timedelta(days=day)
                writer.write(_split_of(day), f"{date:%Y%m%d}-{number:05}", columns)
            progress(number + 1, len(firsts), f"generated {number + 1} of {len(firsts)} chunks")
        return writer.finish(
            dataset="synthetic",
            command=f"prepare synthetic --rows {rows} --seed {seed}",
            user_column="user_id",
            vocabularies=list(vocabularies.values()),
        )


def _split_of(day: int) -> SPLIT:
    return "train" if day < TRAIN_DAYS else "val" if day == TRAIN_DAYS else "test"
