"""Random tables, and writers of all formats."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.files import Source
from pipeline.data.sources.table import open_table
from pipeline.data.sources.text import parts

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
WHOLE = st.integers(-(2**63), 2**63 - 1)
TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "whole": (pa.int64(), WHOLE),
    "number": (pa.float64(), st.floats(allow_nan=False)),
    "flag": (pa.bool_(), st.booleans()),
    "text": (pa.large_string(), TEXT),
    "ids": (pa.large_list(pa.int64()), st.lists(st.none() | WHOLE, max_size=3)),
    "tags": (pa.large_list(pa.large_string()), st.lists(TEXT, max_size=3)),
    "time": (
        pa.timestamp("us"),
        st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)),
    ),
    "day": (pa.date32(), st.dates()),
}


@st.composite
def tables(draw: st.DrawFn, *names: str) -> pa.Table:
    """A table with the columns `names` of TYPES, with nulls."""
    count = draw(st.integers(0, 12))
    return pa.table(
        {
            name: pa.array(
                draw(st.lists(st.none() | TYPES[name][1], min_size=count, max_size=count)),
                TYPES[name][0],
            )
            for name in names
        }
    )


@st.composite
def cuts(draw: st.DrawFn, table: pa.Table) -> list[pa.Table]:
    """The table, cut into one to four."""
    places = sorted(draw(st.lists(st.integers(0, len(table)), max_size=3)))
    ends = zip([0, *places], [*places, len(table)], strict=True)
    return [table.slice(first, end - first) for first, end in ends]


def write_pyarrow(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=3)


def write_polars(table: pa.Table, path: Path) -> None:
    pl.DataFrame(pl.from_arrow(table)).write_parquet(path, row_group_size=3)


def write_categorical(table: pa.Table, path: Path) -> None:
    """Write text as pandas writes categories."""
    columns = [
        column.dictionary_encode() if column.type == pa.large_string() else column
        for column in table.columns
    ]
    pq.write_table(pa.table(columns, names=table.column_names), path, row_group_size=3)


def write_small(table: pa.Table, path: Path) -> None:
    """Write the narrow types of other writers."""
    narrow = {
        pa.large_string(): pa.string(),
        pa.large_list(pa.int64()): pa.list_(pa.int64()),
        pa.large_list(pa.large_string()): pa.list_(pa.string()),
        pa.date32(): pa.date64(),
    }
    fields = [pa.field(f.name, narrow.get(f.type, f.type)) for f in table.schema]
    pq.write_table(table.cast(pa.schema(fields)), path, version="1.0", row_group_size=3)


def write_arrow_file(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write_arrow_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write_polars_arrow(table: pa.Table, path: Path) -> None:
    """Write what Polars writes by default: views of strings, compressed."""
    pl.DataFrame(pl.from_arrow(table)).write_ipc(path, compression="zstd")


def write_jsonl(table: pa.Table, path: Path) -> None:
    lines = [json.dumps(row) + "\n" for row in table.to_pylist()]
    path.write_text("".join(lines), encoding="utf-8")


@contextmanager
def parts_of(size: int) -> Iterator[None]:
    """Cut text files into parts of about `size` bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", size)
        yield


def opened(*paths: Path | str, **options: Any) -> Source:
    return open_table(FilesConfig(path=tuple(map(str, paths)), **options))


def read_all(source: Source, columns: list[str] | None = None) -> pa.Table:
    """All chunks in order, as one table."""
    names = source.names if columns is None else columns
    schema = pa.schema([(name, source.types[name]) for name in names])
    tables = [source.read(chunk, names) for chunk in source.chunks]
    return pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
