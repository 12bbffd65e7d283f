"""A CSV file comes through as it is, or the error names the line at fault."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.prepare.csv_table import ColumnKind, csv_to_parquet
from pipeline.io.errors import UserError
from tests import odd_files

KINDS: dict[str, ColumnKind] = {
    "id": "integer",
    "flag": "flag",
    "day": "day",
    "code": "whole",
    "size": "number",
    "date": "date",
    "word": "text",
}
HEADER = "id,flag,day,code,size,date,word\n"
GOOD = "1,0,20220501,4.0,0.5,2022-05-01,a\n"


def convert(folder: Path, content: str | bytes) -> pl.DataFrame:
    path, out = folder / "table.csv", folder / "table.parquet"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    csv_to_parquet(path, KINDS, out)
    return pl.read_parquet(out)


@pytest.mark.parametrize(
    "content",
    [
        HEADER + GOOD,
        HEADER + GOOD.rstrip("\n"),
        (HEADER + GOOD).replace("\n", "\r\n"),
        "\ufeff" + HEADER + GOOD,
        HEADER + GOOD + "\n\n",
        HEADER + "\n" + GOOD,
        HEADER.replace("id", "more,id") + "x," + GOOD,
    ],
    ids=["plain", "no last newline", "crlf", "bom", "empty end", "empty line", "one column more"],
)
def test_what_editors_and_editions_do_to_a_file_is_no_matter(tmp_path: Path, content: str) -> None:
    assert convert(tmp_path, content).rows() == [(1, 0, 20220501, 4.0, 0.5, "2022-05-01", "a")]


def test_only_codes_numbers_dates_and_words_may_be_empty(tmp_path: Path) -> None:
    assert convert(tmp_path, HEADER + "1,0,20220501,,,,\n").row(0)[3:] == (None,) * 4


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "abc"),
        ("id", ""),
        ("id", "1.5"),
        ("id", "99999999999999999999"),
        ("flag", "2"),
        ("flag", "-1"),
        ("flag", "300"),
        ("flag", ""),
        ("day", "20220532"),
        ("day", "220501"),
        ("code", "4.5"),
        ("code", "inf"),
        ("code", "x"),
        ("size", "big"),
        ("size", "inf"),
        ("date", "20220501"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_line_and_column(
    tmp_path: Path, column: str, value: str
) -> None:
    fields = GOOD.strip().split(",")
    fields[list(KINDS).index(column)] = value
    with pytest.raises(UserError) as caught:
        convert(tmp_path, HEADER + 3 * GOOD + ",".join(fields) + "\n" + GOOD)
    message = str(caught.value)
    assert "table.csv: line 5" in message
    assert f"column {column}: {value!r}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEADER.replace("day,", "") + GOOD, "no column day"),
        (HEADER.replace(",", "\t") + GOOD.replace(",", "\t"), "comma-separated"),
        ("", "no column id"),
        (b"PK\x03\x04\xff\xfe\x00\x00" * 50, "no column id"),
        (HEADER + GOOD + "1,0\n", "line 3: 2 fields"),
        (HEADER + GOOD + GOOD.strip() + ",9\n", "line 3: 8 fields"),
        (HEADER.encode() + GOOD.replace("a", "\xe9").encode("latin1"), "line 2: column word"),
        (HEADER + GOOD.replace("a", '"a'), "table.csv"),
    ],
    ids=["column", "tabs", "empty", "binary", "short line", "long line", "latin1", "open quote"],
)
def test_a_file_that_is_no_such_table_is_rejected(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        convert(tmp_path, content)


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert convert(tmp_path, HEADER).is_empty()


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    odd_files.put("pipe", tmp_path / "table.csv")
    with pytest.raises(UserError, match=r"table\.csv: is a pipe, not a file"):
        csv_to_parquet(tmp_path / "table.csv", KINDS, tmp_path / "table.parquet")
