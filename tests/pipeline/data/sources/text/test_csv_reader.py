"""CSV files are cut and read as Python's csv module reads them."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path
from typing import Literal

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import opened, parts_of, read_all

CELL = st.text(st.sampled_from('ab ",;\t\n\ré|'), max_size=8)
# The module quotes a line break on its own only if it is part of the line terminator.
STYLES: list[tuple[Literal[0, 1], str]] = [
    (csv.QUOTE_MINIMAL, "\r\n"),
    (csv.QUOTE_ALL, "\r\n"),
    (csv.QUOTE_ALL, "\n"),
    (csv.QUOTE_ALL, "\r"),
]


def expected(text: str, separator: str = ",") -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]


def write(folder: str, data: bytes, ending: str) -> Path:
    path = Path(folder, "table.csv" + ending)
    if ending == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(data)
    else:
        path.write_bytes(gzip.compress(data) if ending else data)
    return path


@settings(max_examples=150)
@given(
    st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n))),
    st.sampled_from(STYLES),
    st.sampled_from(",;\t|"),
    st.integers(1, 60),
    st.sampled_from(["", ".gz", ".zst"]),
)
def test_what_python_writes_is_read(
    rows: list[list[str]],
    style: tuple[Literal[0, 1], str],
    separator: str,
    size: int,
    ending: str,
) -> None:
    columns = [f"c{number}" for number in range(len(rows[0]) if rows else 2)]
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, quoting=style[0], lineterminator=style[1])
    writer.writerows([columns, *rows])
    with tempfile.TemporaryDirectory() as folder, parts_of(size):
        path = write(folder, out.getvalue().encode(), ending)
        source = opened(path, separator=separator, null_values=("no null",))
        assert source.names == columns
        assert sum(chunk.rows for chunk in source.chunks) == len(rows)
        assert list(map(list, _rows(read_all(source)))) == rows
        for chunk in reversed(source.chunks):
            found = _rows(source.read(chunk, columns))
            assert found == [tuple(row) for row in rows[chunk.first_row :][: chunk.rows]]


@settings(max_examples=300)
@given(st.text(st.sampled_from('ab",\n\r'), max_size=40), st.integers(1, 20))
@example('5" screen,a\nb,c\n', 4)
@example('"a"b",c\nd,e"\n', 4)
def test_any_text_is_read_like_python_or_refused(text: str, size: int) -> None:
    rows = expected(text)
    with tempfile.TemporaryDirectory() as folder, parts_of(size):
        path = write(folder, text.encode(), "")
        try:
            source = opened(path, header=False, separator=",", null_values=("no null",))
            found = list(map(list, _rows(read_all(source))))
        except UserError as error:
            message = str(error)
            if "not closed" in message:
                assert text.count('"')
            elif rows:
                assert len({len(row) for row in rows}) > 1
            else:
                assert "no columns" in message
            return
        assert found == rows


def _rows(table: pa.Table) -> list[tuple[str, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
