"""Whatever becomes of a file's bytes, it is read or one line says what is wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.mutations import assert_read_or_refused, byte_mutations
from tests.pipeline.data.sources.tables import (
    opened,
    read_all,
    write_arrow_file,
    write_arrow_stream,
    write_jsonl,
)

TABLE = pa.table(
    {
        "user": pa.array([1, None, 3, 4, 5]),
        "tags": pa.array([["a"], [], None, ["b", "c"], ["d"]]),
        "x": pa.array([0.5, 1.0, None, 2.5, 3.5]),
    }
)


def write_csv(table: pa.Table, path: Path) -> None:
    path.write_text('user,tags,x\n1,"a ""b""\n",0.5\r\n\n,,\n3,c,1\n', encoding="utf-8")


def write_csv_gz(table: pa.Table, path: Path) -> None:
    write_csv(table, path)
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=3)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", write_csv),
        ("a.csv.gz", write_csv_gz),
        ("a.jsonl", write_jsonl),
        ("a.parquet", write_parquet),
        ("a.arrow", write_arrow_file),
        ("b.arrow", write_arrow_stream),
    ],
)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, name: str, write: Callable[[pa.Table, Path], None]
) -> None:
    path = tmp_path / name
    write(TABLE, path)

    def read() -> None:
        source = opened(path)
        read_all(source, list(source.types)).validate(full=True)

    for changed in byte_mutations(path.read_bytes()):
        path.write_bytes(changed)
        assert_read_or_refused(read, changed)
