"""Small prepared folders, and what a reader must make of each of their rows, said plainly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torchrec import KeyedJaggedTensor

from pipeline.data.batch import Batch
from pipeline.data.parquet_source import ParquetSource, open_batches
from pipeline.data.schema import (
    SPLIT,
    DenseFeature,
    Label,
    Schema,
    SparseFeature,
    Table,
)
from pipeline.data.split_counts import Split, WeightSums

Row = dict[str, Any]

VOCABULARY = {"video": 10, "tag": 5}
HASH_ROWS = {"video": 7, "tag": 3}
FEATURES = (  # single-valued and multi-valued in turn, sharing tables
    SparseFeature(name="video", group="item", table="video"),
    SparseFeature(name="history", group="user", table="video", multi=True),
    SparseFeature(name="tag", group="item", table="tag"),
    SparseFeature(name="likes", group="user", table="tag", multi=True),
    SparseFeature(name="last_video", group="user", table="video"),
)
DENSE = (DenseFeature(name="age", mean=30.0, std=10.0), DenseFeature(name="hour", mean=12, std=6))
LABELS = (
    Label(name="click", column="is_click", category="watch", oracle="p_click"),
    Label(name="like", column="is_like", category="interact"),
)
TYPES = pa.schema(
    {
        "user": pa.int64(),
        "video": pa.int64(),
        "history": pa.list_(pa.int64()),
        "tag": pa.int64(),
        "likes": pa.list_(pa.int64()),
        "last_video": pa.int64(),
        "age": pa.float32(),
        "hour": pa.float32(),
        "is_click": pa.float32(),
        "p_click": pa.float32(),
        "is_like": pa.float32(),
        "row.weight": pa.float32(),
        "unread": pa.string(),
    }
)


def random_rows(count: int, seed: int = 0) -> list[Row]:
    """Rows with nulls, empty lists and ids outside the vocabulary. `user` is the row's number."""
    rng = np.random.default_rng(seed)

    def index(table: str) -> int | None:
        kind = rng.integers(10)
        if kind == 0:
            return None
        if kind == 1:
            return VOCABULARY[table] + int(rng.integers(2**62))
        return int(rng.integers(VOCABULARY[table]))

    def bag(table: str) -> list[int | None] | None:
        return None if rng.random() < 0.1 else [index(table) for _ in range(rng.integers(4))]

    def number() -> float | None:
        return None if rng.random() < 0.1 else float(np.float32(rng.normal(20, 9)))

    def label() -> float | None:
        return None if rng.random() < 0.1 else float(rng.integers(2))

    return [
        {
            "user": row,
            "video": index("video"),
            "history": bag("video"),
            "tag": index("tag"),
            "likes": bag("tag"),
            "last_video": index("video"),
            "age": number(),
            "hour": number(),
            "is_click": label(),
            "p_click": float(np.float32(rng.random())),
            "is_like": label(),
            "row.weight": 0.5 * (row % 4),
            "unread": "x",
        }
        for row in range(count)
    ]


def raw_columns(rows: list[Row]) -> tuple[KeyedJaggedTensor, torch.Tensor]:
    """Ids as in the data, numbers with NaN where missing."""
    bags = [
        [(row[f.name] or []) if f.multi else [row[f.name] or 0] for row in rows] for f in FEATURES
    ]
    sparse = KeyedJaggedTensor(
        keys=[feature.name for feature in FEATURES],
        values=torch.tensor([i or 0 for feature in bags for bag in feature for i in bag]),
        lengths=torch.tensor([len(bag) for feature in bags for bag in feature]),
    )
    numbers = [[torch.nan if row[d.name] is None else row[d.name] for d in DENSE] for row in rows]
    return sparse, torch.tensor(numbers, dtype=torch.float32)


def write_folder(
    folder: Path,
    rows: list[Row],
    *,
    split: SPLIT = "train",
    files: int = 2,
    row_group_size: int = 5,
    weighted: bool = False,
) -> Schema:
    """`rows` as one split, in order over `files` files."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    names = tuple(f"{split}/part-{index:05}.parquet" for index in range(files))
    size = math.ceil(len(rows) / files)
    for index, name in enumerate(names):
        table = pa.Table.from_pylist(rows[index * size : (index + 1) * size], schema=TYPES)
        pq.write_table(table, folder / name, row_group_size=row_group_size)
    positives = {label.name: sum(row[label.column] == 1 for row in rows) for label in LABELS}
    sums = WeightSums(
        rows=sum(row["row.weight"] for row in rows),
        positives={
            label.name: sum(row["row.weight"] for row in rows if row[label.column] == 1)
            for label in LABELS
        },
    )
    weights = sums if weighted else None
    schema = Schema(
        dataset="small",
        made_by="test",
        user_column="user",
        weight_column="row.weight" if weighted else None,
        sparse=FEATURES,
        tables=tuple(Table(name=name, vocab_size=size) for name, size in VOCABULARY.items()),
        dense=DENSE,
        labels=LABELS,
        splits={
            "train": Split(positives={label.name: 0 for label in LABELS}, weights=weights),
            split: Split(rows=len(rows), files=names, positives=positives, weights=weights),
        },
    )
    schema.save(folder)
    return schema


def open_small(folder: Path, split: SPLIT = "train", **options: Any) -> ParquetSource:
    """open_batches with defaults that a test can leave out."""
    schema = Schema.load(folder)
    defaults: dict[str, Any] = {
        "features": schema.sparse,
        "tasks": schema.labels,
        "hash_rows": HASH_ROWS,
        "batch_size": 4,
        "rank": 0,
        "world_size": 1,
        "shuffle": False,
        "seed": 0,
        "num_workers": 0,
        "shuffle_row_groups": 2,
    }
    return open_batches(folder, schema, split, **(defaults | options))


def read_back(batch: Batch, row: int) -> Row:
    """One row of a batch, as plain values."""
    sparse = {
        name: jagged.values()[jagged.offsets()[row] : jagged.offsets()[row + 1]].tolist()
        for name, jagged in batch.sparse.to_dict().items()
    }
    return {
        "user": batch.users[row].item(),
        **sparse,
        "dense": batch.dense[row].tolist(),
        "labels": _plain(batch.labels[row].tolist()),
        "oracle": None if batch.oracle is None else _plain(batch.oracle[row].tolist()),
    }


def expected(row: Row, *, with_oracle: bool = False) -> Row:
    """What `read_back` must give for a written row: the reader's contract, one value at a time."""

    def index(value: int | None, table: str) -> int:
        size = VOCABULARY[table]
        if value is None:
            return 0
        return value if value < size else size + (value - size) % HASH_ROWS[table]

    sparse = {
        feature.name: [
            index(value, feature.table)
            for value in ((row[feature.name] or []) if feature.multi else [row[feature.name]])
        ]
        for feature in FEATURES
    }
    dense = [
        0.0
        if row[number.name] is None
        else float(
            (np.float32(row[number.name]) - np.float32(number.mean)) / np.float32(number.std)
        )
        for number in DENSE
    ]
    return {
        "user": row["user"],
        **sparse,
        "dense": dense,
        "labels": [row["is_click"], row["is_like"]],
        "oracle": [row["p_click"], None] if with_oracle else None,
    }


def _plain(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]
