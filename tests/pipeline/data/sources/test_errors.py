"""Bad files are refused in one line that says where, what and what to do."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.data.sources.text import parts
from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import (
    opened,
    parts_of,
    read_all,
    write_arrow_file,
    write_jsonl,
)

TABLE = pa.table({"user": list(range(1000)), "x": [str(n) * 20 for n in range(1000)]})


def error_of(path: Path, **options: Any) -> str:
    """The error of opening or reading, without the folder."""
    with pytest.raises(UserError) as caught:
        read_all(opened(path, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path}/", "").replace(f"{path.parent}/", "")


@pytest.mark.parametrize("kept", [0, 3, 500, -5])
@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_a_truncated_file(tmp_path: Path, kept: int, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    (pq.write_table if ending == ".parquet" else write_arrow_file)(TABLE, path)
    path.write_bytes(path.read_bytes()[:kept])
    kind = {".parquet": "Parquet", ".arrow": "Arrow"}[ending]
    message = error_of(path)
    assert re.fullmatch(
        rf"a{ending}: not a complete {kind} file \(.*\); write it again, or remove it", message
    )


def test_a_damaged_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path, row_group_size=500, compression="snappy", use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(1).data_page_offset
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    assert error_of(path).startswith("a.parquet: row group 1 cannot be read (")


@pytest.mark.parametrize("ending", [".csv.gz", ".jsonl.gz", ".csv.zst"])
def test_a_compressed_file_that_ends_early(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    text = "".join(
        f'{{"a": {n * n}}}\n' if "json" in ending else f"{n},{n * n}\n" for n in range(50000)
    )
    codec = "zstd" if ending.endswith("zst") else "gzip"
    with pa.CompressedOutputStream(str(path), codec) as file:
        file.write(text.encode())
    path.write_bytes(path.read_bytes()[:-100])
    assert re.fullmatch(
        rf"a{ending}: damaged or incomplete {codec} file \(.*\); write or download it again",
        error_of(path),
    )


def test_a_file_that_is_not_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert error_of(path).startswith("a.csv.gz: damaged or incomplete gzip file (")


@pytest.mark.parametrize("name", ["part-00000", "a.csv", "a.jsonl"])
@pytest.mark.parametrize(("codec", "ending"), [("gzip", ".gz"), ("zstd", ".zst"), ("bz2", ".bz2")])
def test_a_compressed_file_whose_name_does_not_say_so(
    tmp_path: Path, name: str, codec: str, ending: str
) -> None:
    with pa.CompressedOutputStream(str(tmp_path / name), codec) as file:
        file.write(b"a,b\n1,2\n")
    assert error_of(tmp_path / name) == (
        f"{name}: is compressed with {codec}; end its name in {ending}"
    )


@pytest.mark.parametrize("text", ['[{"a": 1, "b": 2}]\n', '[\n  {"a": 1,\n   "b": 2}\n]\n'])
def test_a_json_array_without_a_known_ending(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.data"
    path.write_text(text, encoding="utf-8")
    assert error_of(path) == "t.data: line 1: not an object; write one JSON object per line"


def test_members_of_gzip_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,") + gzip.compress(b"2\n3,4\n"))
    assert read_all(opened(path)).to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}


CSV = [
    (b"a,b\n1,2\n3\n", "line 3: 1 fields, but the first row has 2; correct or remove the line, or"),
    (b'a,b\n\n"1\n",2\n3,4,5\n', "line 5: 3 fields, but the first row has 2; "),
    (b"a,b\n1,2\nM\xfcller,4\n", "line 3: not UTF-8: byte 0xfc; convert the file to UTF-8"),
    (b'a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote is not closed until the end of the file; correct"),
]


@pytest.mark.parametrize(("data", "message"), CSV)
def test_csv(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    assert error_of(path).startswith(f"a.csv: {message}")


JSON = [
    (
        '{"a": 1}\n\n{"a": "x"}\n',
        "line 3, column 'a': \"x\" has another type than the values before",
    ),
    (
        '{"a": 1}\n{"a": 2,}\n',
        "line 2: not JSON (Missing a name for object member. in row 1); write",
    ),
    ('[{"a": 1}]\n', "line 1: not an object; write one JSON object per line"),
    ('{"a": 1}\n3\n', "line 2: not an object; write one JSON object per line"),
    ('{"a": 1}{"a": 2}\n', "line 1: 2 objects from here on in 1 lines; write one object per line"),
    ('{"a": 1}\n{"a": 1, "a": 2}\n', "line 2, column 'a': an object has a key twice; keep one"),
    ('{"a": {"b": 1, "b": 2}}\n', "line 1, column 'a': an object has a key twice; keep one"),
    ("M\u00fcller", "line 1: not UTF-8: byte 0xfc; convert the file to UTF-8"),
    ("", "the table has no columns; check the path"),
]


@pytest.mark.parametrize(("text", "message"), JSON)
def test_json(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(text.encode("latin-1"))
    assert error_of(path).startswith(f"a.jsonl: {message}")


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_columns_of_one_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    table = TABLE.rename_columns(["x", "x"])
    (pq.write_table if ending == ".parquet" else write_arrow_file)(table, path)
    assert error_of(path) == f"a{ending}: 2 columns are named 'x'; rename all but one"


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
@pytest.mark.parametrize("in_list", [False, True])
def test_text_that_is_not_utf8(tmp_path: Path, ending: str, in_list: bool) -> None:
    path = tmp_path / f"a{ending}"
    bad = pa.array([b"x", b"y", b"z", b"M\xfcller", b"y"]).view(pa.string())
    column = pa.ListArray.from_arrays([0, 2, 2, 4, 5], bad) if in_list else bad
    (pq.write_table if ending == ".parquet" else write_arrow_file)(pa.table({"a": column}), path)
    row = 2 if in_list else 3
    assert error_of(path) == (
        f"a{ending}: row {row} (from 0), column 'a': text that is not UTF-8; write the file again"
    )


@pytest.mark.parametrize(
    "other",
    [
        b"a",
        b"Columns, in this order:\na, b, c\n",
        b"\x89PNG\r\n\x1a\n\0,\0,",
        b"\n<!DOCTYPE html>, moved\n",
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, other: bytes) -> None:
    (tmp_path / "a.csv").write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "README.md").write_bytes(other)
    assert error_of(tmp_path).startswith("README.md: unknown format; set format, or a pattern")


def test_an_unknown_column(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    with pytest.raises(UserError, match=r"a\.parquet: no column 'usr'; did you mean 'user'"):
        opened(path).require(["x", "usr"])


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv", ".jsonl"])
def test_a_file_that_is_removed_or_something_else(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"a{ending}")
    assert "(is a pipe, not a file); " in error_of(tmp_path / f"a{ending}")
    path = tmp_path / f"b{ending}"
    table = pa.table({"a": ["x", "y"]})
    writers: dict[str, Any] = {".parquet": pq.write_table, ".arrow": write_arrow_file}
    writers |= {".csv": pa.csv.write_csv, ".jsonl": write_jsonl}
    writers[ending](table, path)
    source = opened(path)
    (chunk,) = source.chunks
    path.unlink()
    with pytest.raises(UserError, match="No such file or directory"):
        source.read(chunk, ["a"])


def test_a_row_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n\n3,"' + "4\n" * 500, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, parts_of(100):
        patch.setattr(parts, "LONGEST_ROW", 2**10 // 2)
        assert error_of(path) == (
            "a.csv: line 4: the row has more than 512 bytes; is a quote not closed?"
        )


def test_a_path_with_a_null_byte(tmp_path: Path) -> None:
    assert error_of(tmp_path / "a\0.csv").endswith("no such file or folder; check the path")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    row = '{"a": "b"}\n' if "json" in ending else "a,b\n"
    compress = gzip.compress if ending.endswith("gz") else bytes
    path.write_bytes(compress((row * 1000).encode()))
    source = opened(path)
    (chunk,) = source.chunks
    path.write_bytes(compress((row * 10).encode()))
    with pytest.raises(UserError, match="do not change files while they are read"):
        source.read(chunk, source.names)


@pytest.mark.parametrize("other", ["y,a,z,c,a", "y,a,c,z", "a,y,a,c,z"])
def test_columns_of_one_name_in_files_that_differ(tmp_path: Path, other: str) -> None:
    texts = {"1.csv": "y,a,a,c,z\n1,2,3,4,5\n", "2.csv": "y,a,a,c,z\n1,2,3,4,5\n", "3.csv": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert opened(tmp_path).names == ["y", "a", "a.1", "c", "z"]
    (tmp_path / "4.csv").write_text(
        f"{other}\n" + "1," * other.count(",") + "1\n", encoding="utf-8"
    )
    assert error_of(tmp_path) == (
        "1.csv: several columns are named 'a', and 4.csv has other columns or another order; "
        "rename all but one, or write all files with the same header"
    )
