"""Splits the log into buckets: all rows of some users, sorted, without duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipeline.data.prepare.kuairand_files import LOG


def split_by_user(logs: Sequence[Path], stage: Path, num_buckets: int) -> Iterator[list[Path]]:
    """Write the rows of each bucket to Parquet files; reads the log once, in batches."""
    if num_buckets == 1:
        yield list(logs)
        return
    paths = [stage / f"bucket-{number}.parquet" for number in range(num_buckets)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pq.ParquetWriter(path, pq.read_schema(logs[0]))) for path in paths
        ]
        for log in logs:
            for batch in pq.ParquetFile(log).iter_batches(1_000_000):
                # The ids are dense integers, so their remainder distributes them evenly.
                bucket = batch["user_id"].to_numpy() % num_buckets
                order = np.argsort(bucket, kind="stable")
                ordered, ends = batch.take(order), np.bincount(bucket, minlength=num_buckets)
                start = 0
                for writer, count in zip(writers, ends.tolist(), strict=True):
                    if count:
                        writer.write_batch(ordered.slice(start, count))
                    start += count
            log.unlink()
    yield from ([path] for path in paths)


def sort_bucket(rows: Sequence[Path], out: Path) -> Path:
    """Drop duplicate rows; sort by user, time and then all columns, for a defined order."""
    order = ["user_id", "time_ms", "video_id", *LOG]
    pl.scan_parquet(list(rows)).unique().sort(list(dict.fromkeys(order))).sink_parquet(out)
    for path in rows:
        path.unlink()
    return out
