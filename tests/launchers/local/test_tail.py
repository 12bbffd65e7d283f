"""Lines of a file while another process writes it."""

from __future__ import annotations

from pathlib import Path

from launchers.local.tail import Tail


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file:
        tail = Tail(path)
        assert tail.lines() == []
        file.write("one\ntwö".encode()[:-1])
        assert tail.lines() == ["one"]
        file.write("ö".encode()[-1:] + b"\nthree")
        assert tail.lines() == ["twö"]
        assert tail.lines(last=True) == ["three"]
        assert tail.lines(last=True) == []


def test_a_file_that_begins_again_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\nhal", encoding="utf-8")
    tail = Tail(path)
    assert tail.lines() == ["one", "two"]
    path.write_text("", encoding="utf-8")
    assert tail.lines() == []
    path.write_text("three\nfour\nfive\n", encoding="utf-8")
    assert tail.lines() == ["three", "four", "five"]


def test_a_file_that_is_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    path, new = tmp_path / "log", tmp_path / "new"
    path.write_text("one\n", encoding="utf-8")
    tail = Tail(path)
    assert tail.lines() == ["one"]
    new.write_text("one\ntwo\n", encoding="utf-8")
    new.replace(path)
    assert tail.lines() == ["one", "two"]
