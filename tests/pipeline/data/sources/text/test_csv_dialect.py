"""The separator and the header of CSV files are found in their first lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import opened, read_all


def write(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path: Path, **options: Any) -> tuple[list[str], list[list[str | None]]]:
    source = opened(path, **options)
    table = read_all(source)
    return source.names, [list(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize("separator", list(",;\t|"))
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
def test_the_separator_is_found(tmp_path: Path, separator: str, name: str) -> None:
    text = 'user,"ti,tle; x|y"\n1,"a;b,c|d\te"\n2,b\n'
    rows = text.replace('user,"', f'user{separator}"')
    rows = rows.replace("1,", f"1{separator}").replace("2,", f"2{separator}")
    names, found = read(write(tmp_path, rows, name))
    assert names == ["user", "ti,tle; x|y"]
    assert found == [["1", "a;b,c|d\te"], ["2", "b"]]


def test_lists_within_a_column_are_no_columns(tmp_path: Path) -> None:
    names, found = read(write(tmp_path, "user,tags\n1,a|b\n2,a|b|c\n3,\n"))
    assert names == ["user", "tags"]
    assert found[2] == ["3", None]


def test_columns_of_one_name_are_numbered(tmp_path: Path) -> None:
    names, found = read(write(tmp_path, "a,b,a,a.1,a,b\n1,2,3,4,5,6\n"))
    assert names == ["a", "b", "a.2", "a.1", "a.3", "b.1"]
    assert found == [list("123456")]
    with pytest.raises(UserError, match=r"a\.csv: names: 2 columns are named 'a'; rename all but"):
        read(write(tmp_path, "1,2\n"), names=["a", "a"])


def test_one_column(tmp_path: Path) -> None:
    assert read(write(tmp_path, "user\na b\n\nc\n")) == (["user"], [["a b"], ["c"]])


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("user,click", True),
        ('"user id","2nd"', True),
        (",click", True),  # an index without name
        ("u1,1", False),
        ("u1,-0.5e3", False),
        ("u1,2026-05-01", False),
        ("u1,2026-05-01 12:00:01", False),
        ("u1, 7 ", False),
    ],
)
def test_a_header_has_no_number_and_no_date(tmp_path: Path, first: str, header: bool) -> None:
    names, found = read(write(tmp_path, f"{first}\nu2,3\n"))
    assert len(found) == (1 if header else 2)
    assert names == ["column_1", "column_2"] or header
    if first.startswith(","):
        assert names == ["column_1", "click"]


@pytest.mark.parametrize("options", [{"header": True}, {"header": False}])
def test_the_configuration_decides(tmp_path: Path, options: dict[str, bool]) -> None:
    names, found = read(write(tmp_path, "a,b\n1,2\n"), **options)
    assert names == (["a", "b"] if options["header"] else ["column_1", "column_2"])
    assert len(found) == (1 if options["header"] else 2)


def test_names_replace_a_header_or_make_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\nc,d\n")
    assert read(path, names=["x", "y"]) == (["x", "y"], [["a", "b"], ["c", "d"]])
    assert read(path, names=["x", "y"], header=True) == (["x", "y"], [["c", "d"]])
    assert read(path, names=["a", "b"]) == (["a", "b"], [["c", "d"]])
    with pytest.raises(UserError, match="2 fields, but names has 1"):
        opened(path, names=["x"])


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbf"user",b\r\n1,2\r\n')
    assert read(path) == (["user", "b"], [["1", "2"]])
    source = opened(path)
    assert source.locate(source.chunks[0], 0) == f"{path}: row 0 (from 0), line 2"
    with pytest.raises(UserError, match="is UTF-16; convert it to UTF-8"):
        opened(write(tmp_path, "a,b\n1,2\n".encode("utf-16")))


def test_files_without_rows_have_no_columns(tmp_path: Path) -> None:
    write(tmp_path, "", "a.csv")
    write(tmp_path, "\n\r\n", "b.csv")
    write(tmp_path, "u,v\n", "c.csv")
    write(tmp_path, "v,u\n\n1,2\n", "d.csv")
    assert read(tmp_path) == (["u", "v"], [["2", "1"]])
    with pytest.raises(UserError, match="the table has no columns"):
        opened(tmp_path / "a.csv", tmp_path / "b.csv")


def test_missing_values(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n,NA\n\\N,x\n")
    assert read(path)[1] == [[None, None], [None, "x"]]
    assert read(path, null_values=["x"])[1] == [["", "NA"], ["\\N", None]]
