"""Paths, folders and patterns stand for files, in the order of their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.resolve import resolve
from pipeline.io.errors import UserError

FILES = [
    "b.csv",
    "a.csv",
    "B.csv",
    "_SUCCESS",
    ".a.csv.crc",
    "day=2/x.csv",
    "day=10/x.csv",
    "day=10/_temporary/y.csv",
    "_run=1/x.csv",
    "deep/er/a.csv",
    "deep/er/a.parquet",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*paths: str) -> list[str]:
    return [file.name for file in resolve(FilesConfig(path=paths))]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.csv", ["a.csv"]),
        ("*.csv", ["B.csv", "a.csv", "b.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("?.csv", ["B.csv", "a.csv", "b.csv"]),
        ("day=*/*.csv", ["day=10/x.csv", "day=2/x.csv"]),
        ("day=*", ["day=10/x.csv", "day=2/x.csv"]),
        ("deep", ["deep/er/a.csv", "deep/er/a.parquet"]),
        ("deep/", ["deep/er/a.csv", "deep/er/a.parquet"]),
        ("./deep//er/*.csv", ["./deep/er/a.csv"]),
        ("**/a.csv", ["a.csv", "deep/er/a.csv"]),
        ("[!ab].csv", ["B.csv"]),
        ("[a-b].csv", ["a.csv", "b.csv"]),
        ("**/d?*p/*/a.*", ["deep/er/a.csv", "deep/er/a.parquet"]),
        ("**/deep?er/*", []),
        ("deep/**", ["deep/er/a.csv", "deep/er/a.parquet"]),
        ("d*/**/*.csv", ["day=10/x.csv", "day=2/x.csv", "deep/er/a.csv"]),
        ("day=10/_temporary/*", ["day=10/_temporary/y.csv"]),
        ("_run=*/*", ["_run=1/x.csv"]),
        ("*/er/*.parquet", ["deep/er/a.parquet"]),
    ],
)
def test_what_a_path_stands_for(folder: Path, path: str, expected: list[str]) -> None:
    if not expected:
        with pytest.raises(UserError, match="no file matches"):
            names(path)
        return
    assert names(path) == expected
    absolute = [str(folder / name) for name in expected]
    assert names(f"{folder}/{path}") == [f"{folder}/{name}" for name in expected]
    assert [os.path.normpath(name) for name in names(f"file://{folder}/{path}")] == [
        os.path.normpath(name) for name in absolute
    ]


def test_a_folder_has_its_files_but_the_hidden_ones(folder: Path) -> None:
    hidden = ("_SUCCESS", ".a.csv.crc", "day=10/_temporary/y.csv")
    assert names(".") == sorted(f"./{name}" for name in FILES if name not in hidden)
    assert names(str(folder)) == sorted(f"{folder}/{name}" for name in FILES if name not in hidden)


def test_several_paths_keep_their_order(folder: Path) -> None:
    assert names("b.csv", "day=*", "a.csv") == ["b.csv", "day=10/x.csv", "day=2/x.csv", "a.csv"]
    with pytest.raises(UserError, match=r"\*.csv: a.csv is already part of the table"):
        names("a.csv", "*.csv")


def test_sizes_and_partitions(folder: Path) -> None:
    (file, other) = resolve(FilesConfig(path=("day=*/x.csv",)))
    assert (file.size, file.partitions) == (len("day=10/x.csv"), {"day": "10"})
    assert file != other
    assert (file,) == resolve(FilesConfig(path=("day=10/x.csv",)))


def test_a_name_with_wildcards_is_a_name_if_it_exists(folder: Path) -> None:
    (folder / "a[1].csv").write_text("x", encoding="utf-8")
    (folder / "a1.csv").write_text("x", encoding="utf-8")
    assert names("a[1].csv") == ["a[1].csv"]


def test_links_are_followed_once(folder: Path) -> None:
    (folder / "deep/loop").symlink_to(folder / "deep")
    (folder / "deep/file.csv").symlink_to(folder / "a.csv")
    assert names("deep") == ["deep/er/a.csv", "deep/er/a.parquet", "deep/file.csv"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", "none.csv: no such file or folder; check the path"),
        ("none/*.csv", "none/*.csv: no file matches; check the path"),
        ("a.csv/*.csv", "a.csv/*.csv: no file matches; check the path"),
        ("**/*.json", "**/*.json: no file matches; check the path"),
        ("empty", "empty: the folder has no files; check the path"),
        ("ftp://host/a.csv", "ftp://host/a.csv: unknown scheme 'ftp'; known: s3, gs, hdfs, file"),
    ],
)
def test_paths_without_files(folder: Path, path: str, message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        names(path)
    assert str(caught.value) == message
