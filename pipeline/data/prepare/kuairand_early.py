"""Rows of the days before the log, with two labels and no clock.

A file of them has user_id, video_id, long_view, is_like, and for each row its rank `pos` among the
`history_len` rows of its user, the newest of which was at `last_time_ms`. A row's time is set to
its share of the user's span, from the first day of the file on; tab, hour, duration and all other
labels are missing.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipeline.data.prepare.csv_table import ColumnKind, csv_to_parquet
from pipeline.io.errors import UserError

_COLUMNS: dict[str, ColumnKind] = {
    "user_id": "integer",
    "video_id": "integer",
    "pos": "integer",
    "history_len": "integer",
    "last_time_ms": "integer",
    "long_view": "flag",
    "is_like": "flag",
}
_DAY_MS = 86_400_000
_ZONE_MS = 8 * 3_600_000
"""The log's `date` is that of China (UTC+8)."""


def stage_early(path: Path, logs: Sequence[Path], stage: Path) -> Path:
    """Write the rows of `path` (CSV, or .csv.gz) as typed Parquet with the columns of the log.

    Raises UserError for a missing file, invalid values, or rows that are not before the log's.
    """
    table = stage / "early.parquet"
    csv_to_parquet(_plain(path, stage), _COLUMNS, table)
    rows = pl.scan_parquet(table)
    first = rows.select(pl.col("last_time_ms").min() + _ZONE_MS).collect().item()
    if first is None:
        raise UserError(f"{path}: no rows; give another file, or omit it")
    _check_ranks(path, rows)
    start = first // _DAY_MS * _DAY_MS - _ZONE_MS
    share = pl.col("pos") / pl.col("history_len")
    span = pl.col("last_time_ms") - start
    time = start + (span * share).cast(pl.Int64)
    day = pl.from_epoch(time + _ZONE_MS, "ms").dt.strftime("%Y%m%d").cast(pl.Int32)
    dtypes = pl.read_parquet_schema(logs[0])
    known = {"date": day, "time_ms": time}
    known |= {name: pl.col(name) for name in ("user_id", "video_id", "long_view", "is_like")}
    out = stage / "log-early.parquet"
    rows.select(
        known.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in dtypes.items()
    ).sink_parquet(out)
    _check_before(path, out, logs)
    return out


def _plain(path: Path, stage: Path) -> Path:
    if path.suffix != ".gz":
        return path
    plain = stage / path.stem
    try:
        with gzip.open(path) as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error}); check the file") from error
    return plain


def _check_ranks(path: Path, rows: pl.LazyFrame) -> None:
    is_rank = pl.col("pos").is_between(1, pl.col("history_len"))
    bad = rows.with_row_index("row").filter(~is_rank).head(1).collect()
    for row in bad.iter_rows(named=True):
        raise UserError(
            f"{path}: row {row['row'] + 1}: pos is {row['pos']}, but ranks are 1 to history_len "
            f"({row['history_len']}); correct or remove the row"
        )


def _check_before(path: Path, early: Path, logs: Sequence[Path]) -> None:
    last = pl.scan_parquet(early).select(pl.col("date").max()).collect().item()
    first = pl.scan_parquet(list(logs)).select(pl.col("date").min()).collect().item()
    if first is not None and last >= first:
        raise UserError(
            f"{path}: has rows of {last}, but the log starts on {first}; remove rows of these days"
        )
