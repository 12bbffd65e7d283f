from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.io.errors import UserError
from pipeline.io.files import has_file, read_text, write_text
from tests import odd_files


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('\ufeff{"é": 1}\n'.encode())
    assert read_text(path, remedy="") == '{"é": 1}\n'


@pytest.mark.parametrize("encoding", ["utf-16", "gb18030", "latin-1"])
def test_another_encoding_is_a_users_error_with_its_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("x\né\n".encode(encoding))
    line = 1 if encoding == "utf-16" else 2
    said = rf"{re.escape(str(path))}: line {line}: not UTF-8: byte 0x[0-9a-f]{{2}}; save it$"
    with pytest.raises(UserError, match=said):
        read_text(path, remedy="save it")


def test_a_file_that_is_not_there_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: cannot be read: No such file or directory"):
        read_text(tmp_path / "none", remedy="")


@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_what_is_no_file_is_named_and_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    odd_files.put(kind, path)
    said = f"^{re.escape(str(path))}: is {odd_files.KINDS[kind]}, not a file; remove it"
    for use in (has_file, lambda it: read_text(it, remedy=""), lambda it: write_text(it, "x")):
        with pytest.raises(UserError, match=said):
            use(path)
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_pipe_that_is_in_the_way_of_a_write_is_replaced(tmp_path: Path) -> None:
    odd_files.put("pipe", tmp_path / ".a.json.partial")
    write_text(tmp_path / "a.json", "x")
    assert has_file(tmp_path / "a.json")
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]
