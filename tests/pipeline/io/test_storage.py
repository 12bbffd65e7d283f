"""Folders at fsspec's addresses behave as folders on the disk do, as far as checkpoints go."""

from __future__ import annotations

import importlib.util
import uuid
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath, Remote, listing, open_folder, remove_tree


def of_kind(kind: str, tmp_path: Path) -> AnyPath:
    if kind == "memory":
        return open_folder(f"memory://{uuid.uuid4().hex}/runs")
    return tmp_path if kind == "path" else Remote("file", LocalFileSystem(), str(tmp_path))


@pytest.mark.parametrize("kind", ["path", "file", "memory"])
def test_all_kinds_do_the_same(kind: str, tmp_path: Path) -> None:
    folder = of_kind(kind, tmp_path) / "a"
    assert not folder.exists()
    assert listing(folder) == {}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.json").write_text("{}")
    (folder / "b").mkdir(parents=True, exist_ok=True)
    (folder / "b" / "y").write_text("ü")
    assert listing(folder) == {"x.json": 2}
    assert {path.name for path in folder.iterdir()} == {"x.json", "b"}
    assert (folder / "b" / "y").read_text() == "ü"
    assert (folder / "b").is_dir()
    assert (folder / "x.json").is_file()
    assert (folder / "b").parent == folder
    (folder / "x.json").unlink()
    (folder / "x.json").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (folder / "x.json").read_text()
    remove_tree(folder)
    remove_tree(folder, missing_ok=True)
    assert not folder.exists()


def test_an_address_reads_as_it_was_written(tmp_path: Path) -> None:
    assert str(open_folder("memory://bucket/runs/a")) == "memory://bucket/runs/a"
    assert open_folder(f"file://{tmp_path}") == tmp_path
    assert open_folder("runs/a") == Path("runs/a")


def test_what_cannot_be_opened_is_one_line() -> None:
    with pytest.raises(UserError, match="protocol 's33' is not known; did you mean 's3'"):
        open_folder("s33://bucket/runs")


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(UserError, match=r"^s3://bucket/runs: s3:// cannot .*: Install s3fs"):
        open_folder("s3://bucket/runs")
