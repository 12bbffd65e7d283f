"""Files of one split by different writers are read as if one had written them all."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.column_types import is_castable
from tests.pipeline.data.small_folder import TYPES, open_small, random_rows, read_back, write_folder

LISTS = [name for name in TYPES.names if pa.types.is_list(TYPES.field(name).type)]
LABELS = ["is_click", "is_like"]
NUMBERS = ["age", "hour", *LABELS, "p_click", "row.weight"]
IDS = [name for name in TYPES.names if name not in (*LISTS, *NUMBERS, "unread")]
FILES = 3
Rewrite = Callable[[pa.Table], pa.Table]


def cast(names: list[str], kind: Callable[[pa.DataType], pa.DataType]) -> Rewrite:
    def rewrite(table: pa.Table) -> pa.Table:
        types = {field.name: field.type for field in table.schema}
        for name in names:
            types[name] = kind(types[name])
        return table.cast(pa.schema(list(types.items())), safe=False)

    return rewrite


def required(table: pa.Table) -> pa.Table:
    """No column may be null: the nulls become zeros, and lists without values."""
    columns = []
    for field in table.schema:
        column = table[field.name].combine_chunks()
        empty: Any = [] if field.name in LISTS else "" if field.name == "unread" else 0
        columns.append(column.fill_null(pa.scalar(empty, column.type)))
    fields = [field.with_nullable(False) for field in table.schema]
    return pa.table(columns, schema=pa.schema(fields))


def reordered(table: pa.Table) -> pa.Table:
    return table.select(table.column_names[::-1])


def dictionaries(table: pa.Table) -> pa.Table:
    for name in (*IDS, *LABELS, "unread"):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table[name].dictionary_encode())
    return table


def all_null(table: pa.Table) -> pa.Table:
    for name in ("video", "history", "age", "is_click"):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pa.nulls(len(table)))
    return table


def fixed_size(table: pa.Table) -> pa.Table:
    """Lists of two values each, or null."""
    for name in LISTS:
        values = [[3, None] if row % 3 else None for row in range(len(table))]
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pa.array(values, pa.list_(pa.int16(), 2)))
    return table


WRITERS: dict[str, Rewrite] = {
    "large lists": cast(LISTS, lambda kind: pa.large_list(kind.value_type)),
    "lists of int32": cast(LISTS, lambda _: pa.list_(pa.int32())),
    "large lists of unsigned": cast(LISTS, lambda _: pa.large_list(pa.uint64())),
    "lists of fixed size": fixed_size,
    "int32 ids": cast(IDS, lambda _: pa.int32()),
    "uint64 ids": cast(IDS, lambda _: pa.uint64()),
    "decimal ids": cast(IDS, lambda _: pa.decimal128(24, 2)),
    "double ids": cast(IDS, lambda _: pa.float64()),
    "doubles": cast(NUMBERS, lambda _: pa.float64()),
    "bool labels": cast(LABELS, lambda _: pa.bool_()),
    "half labels": cast(LABELS, lambda _: pa.float16()),
    "int8 labels": cast(LABELS, lambda _: pa.int8()),
    "decimal labels": cast(LABELS, lambda _: pa.decimal128(3, 1)),
    "large strings": cast(["unread"], lambda _: pa.large_string()),
    "dictionaries": dictionaries,
    "required": required,
    "other order": reordered,
    "nothing but nulls": all_null,
}


def small_ids(count: int) -> list[dict[str, Any]]:
    """Rows whose ids fit every integer type."""
    rows = random_rows(count)
    for row in rows:
        for name in IDS:
            if row[name] is not None and name != "user":
                row[name] %= 100
        for name in LISTS:
            if row[name] is not None:
                row[name] = [None if value is None else value % 100 for value in row[name]]
    return rows


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: None if row[name] is None else float(row[name]) for name in NUMBERS}


def read_all(folder: Path, **options: Any) -> list[dict[str, Any]]:
    return [
        read_back(batch, row)
        for batch in open_small(folder, with_oracle=True, **options)
        for row in range(4)
        if batch.weights[row]
    ]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_may_be_of_another_writer(tmp_path: Path, writer: str) -> None:
    """Joined with the others in every shuffle buffer, it reads as rewritten in the usual types."""
    schema = write_folder(tmp_path, small_ids(24), files=FILES, row_group_size=4)
    second = tmp_path / schema.splits["train"].files[1]
    rewritten = WRITERS[writer](pq.read_table(second))
    usual = pa.Table.from_pylist(list(map(plain, rewritten.to_pylist())), schema=TYPES)
    found = []
    for table in (usual, rewritten):
        pq.write_table(table, second, row_group_size=4)
        found.append([read_all(tmp_path, shuffle=True, shuffle_row_groups=6), read_all(tmp_path)])
    assert str(found[0]) == str(found[1])  # NaN is NaN


def test_all_writers_together(tmp_path: Path) -> None:
    """Each in a file of its own, all in one shuffle buffer."""
    count = len(WRITERS) * 4
    schema = write_folder(tmp_path, small_ids(count), files=len(WRITERS), row_group_size=2)
    for name, rewrite in zip(schema.splits["train"].files, WRITERS.values(), strict=True):
        pq.write_table(rewrite(pq.read_table(tmp_path / name)), tmp_path / name, row_group_size=2)
    groups = 2 * len(WRITERS)
    users = [row["user"] for row in read_all(tmp_path, shuffle=True, shuffle_row_groups=groups)]
    assert sorted(users) == list(range(count))
    assert not any(math.isnan(row["dense"][0]) for row in read_all(tmp_path))


@pytest.mark.parametrize(
    ("found", "expected", "castable"),
    [
        (pa.uint8(), pa.int64(), True),
        (pa.bool_(), pa.float32(), True),
        (pa.dictionary(pa.int8(), pa.int32()), pa.int64(), True),
        (pa.null(), pa.list_(pa.int64()), True),
        (pa.list_(pa.list_(pa.int64())), pa.list_(pa.int64()), False),
        (pa.list_(pa.string()), pa.list_(pa.int64()), False),
        (pa.int64(), pa.list_(pa.int64()), False),
        (pa.list_(pa.int64()), pa.int64(), False),
        (pa.string(), pa.int64(), False),
        (pa.large_string(), pa.float32(), False),
        (pa.dictionary(pa.int8(), pa.string()), pa.int64(), False),
        (pa.timestamp("us"), pa.int64(), False),
        (pa.struct([("a", pa.int64())]), pa.int64(), False),
    ],
)
def test_numbers_are_cast_and_nothing_else(
    found: pa.DataType, expected: pa.DataType, castable: bool
) -> None:
    assert is_castable(found, expected) is castable
