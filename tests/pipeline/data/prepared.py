"""Reading a prepared folder back, plainly."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipeline.data.schema import SPLIT, SPLITS, Schema


def read(folder: Path, split: SPLIT) -> pl.DataFrame:
    """All rows of a split, file by file as the schema lists them."""
    files = Schema.load(folder).splits[split].files
    return pl.concat([pl.read_parquet(folder / file) for file in files])


def read_all(folder: Path) -> pl.DataFrame:
    schema = Schema.load(folder)
    return pl.concat([read(folder, split) for split in SPLITS if schema.splits[split].files])


def as_set(table: pl.DataFrame) -> list[str]:
    """The rows without their order."""
    return sorted(map(repr, table.rows()))


def raw_ids(folder: Path, table: str) -> dict[int, str]:
    """Index -> raw value."""
    vocabulary = pl.read_parquet(folder / "vocab" / f"{table}.parquet")
    return dict(zip(vocabulary["index"], vocabulary["id"], strict=True))


def feature_columns(schema: Schema) -> list[str]:
    return [*(f.column for f in schema.sparse), *(f.column for f in schema.dense)]
