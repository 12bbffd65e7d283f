"""The format of a file whose name has no known ending."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import (
    opened,
    read_all,
    write_arrow_file,
    write_arrow_stream,
)

ROWS = {"user": ["u", "v"], "item": ["1", "2"]}
TEXT = b"user,item\nu,1\nv,2\n"


@pytest.mark.parametrize("name", ["part-00000", "a.data", "a.parquet.snappy"])
@pytest.mark.parametrize(
    "format", ["parquet", "arrow", "csv", "stream", "csv.gz", "tsv", "jsonl", "bom"]
)
def test_it_is_found_in_the_first_bytes(tmp_path: Path, name: str, format: str) -> None:
    path = tmp_path / (f"{name}.gz" if format == "csv.gz" else name)
    table = pa.table(ROWS)
    if format == "parquet":
        pq.write_table(table, path)
    elif format == "arrow":
        write_arrow_file(table, path)
    elif format == "stream":
        write_arrow_stream(table, path)
    elif format == "jsonl":
        path.write_text(
            '{"user": "u", "item": "1"}\n{"user": "v", "item": "2"}\n', encoding="utf-8"
        )
    else:
        text = TEXT.replace(b",", b"\t") if format == "tsv" else TEXT
        text = b"\xef\xbb\xbf" + text if format == "bom" else text
        path.write_bytes(gzip.compress(text) if format == "csv.gz" else text)
    assert read_all(opened(path)).to_pydict() == ROWS


@pytest.mark.parametrize("name", ["part-00001", "part-00001.gz", "a-00000"])
@pytest.mark.parametrize("empty", [b"", b"\r\n"])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_an_empty_file_is_of_the_format_of_the_others(
    tmp_path: Path, name: str, format: str, empty: bytes
) -> None:
    (tmp_path / name).write_bytes(gzip.compress(empty) if name.endswith(".gz") else empty)
    lines = b"".join(
        b'{"user": "%b", "item": "%b"}\n' % row for row in [(b"u", b"1"), (b"v", b"2")]
    )
    (tmp_path / "part-00000").write_bytes(TEXT if format == "csv" else lines)
    (tmp_path / "_SUCCESS").write_bytes(b"")
    assert read_all(opened(tmp_path)).to_pydict() == ROWS


def test_a_table_of_empty_files_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "part-00000").write_bytes(b"")
    with pytest.raises(UserError, match="no columns"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["T.CSV.GZ", "T.Gz"])
def test_endings_may_be_upper_case(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(TEXT))
    assert read_all(opened(tmp_path / name)).to_pydict() == ROWS
