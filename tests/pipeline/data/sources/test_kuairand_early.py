"""A compressed log with two side tables that nobody prepared."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.sources.config import FilesConfig, JoinConfig
from pipeline.data.sources.joined import open_joined

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data"
LOG = SHARED / "kuairand-pure-early/impressions_04_09_to_04_24_last50.csv.gz"
USERS = SHARED / "kuairand-pure/user_features_pure.csv"
VIDEOS = SHARED / "kuairand-pure/video_features_basic_pure.csv"

pytestmark = [
    pytest.mark.kuairand,
    pytest.mark.skipif(not LOG.is_file(), reason=f"no {LOG}"),
]


def test_polars_agrees() -> None:
    source = open_joined(
        FilesConfig(path=(str(LOG),)),
        [
            JoinConfig(path=(str(USERS),), on=("user_id",)),
            JoinConfig(path=(str(VIDEOS),), on=("video_id",)),
        ],
    )
    columns = ["user_id", "video_id", "long_view", "user_active_degree", "author_id", "video_type"]
    found = pl.concat(
        pl.DataFrame(pl.from_arrow(source.read(chunk, columns))) for chunk in source.chunks
    )
    log, users, videos = (
        pl.read_csv(data, infer_schema=False, null_values=["", "NA"])
        for data in (gzip.decompress(LOG.read_bytes()), USERS, VIDEOS)
    )
    joined = log.join(users, on="user_id", how="left", maintain_order="left").join(
        videos, on="video_id", how="left", maintain_order="left"
    )
    assert len(found) == 817_187
    assert found.equals(joined.select(columns))
    assert list(source.misses.values()) == [0, 0]
