"""Folders at fsspec's addresses behave as folders on the disk do, as far as checkpoints go."""

from __future__ import annotations

import importlib.util
import uuid
from pathlib import Path

import pytest
from upath import UPath

from pipeline.io.errors import UserError
from pipeline.io.files import write_text
from pipeline.io.storage import AnyPath, children, file_sizes, open_folder, remove_tree


def of_kind(kind: str, tmp_path: Path) -> AnyPath:
    if kind == "memory":
        return open_folder(f"memory://{uuid.uuid4().hex}/runs")
    return tmp_path if kind == "path" else UPath(f"file://{tmp_path}")


@pytest.mark.parametrize("kind", ["path", "file", "memory"])
def test_all_kinds_do_the_same(kind: str, tmp_path: Path) -> None:
    folder = of_kind(kind, tmp_path) / "a"
    assert not folder.exists()
    assert file_sizes(folder) == {}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "x.json", "{}")
    (folder / "b").mkdir(parents=True, exist_ok=True)
    write_text(folder / "b" / "y", "ü")
    assert file_sizes(folder) == {"x.json": 2}
    assert {path.name for path in children(folder)} == {"x.json", "b"}
    assert (folder / "b" / "y").read_text(encoding="utf-8") == "ü"
    assert (folder / "b").is_dir()
    assert (folder / "x.json").is_file()
    assert (folder / "b").parent == folder
    (folder / "x.json").unlink()
    (folder / "x.json").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (folder / "x.json").read_text(encoding="utf-8")
    remove_tree(folder)
    remove_tree(folder, missing_ok=True)
    assert not folder.exists()


def test_an_address_reads_as_it_was_written(tmp_path: Path) -> None:
    assert str(open_folder("memory://bucket/runs/a")) == "memory://bucket/runs/a"
    assert open_folder(f"file://{tmp_path}") == tmp_path
    assert open_folder("runs/a") == Path("runs/a")


def test_what_cannot_be_opened_is_one_line() -> None:
    with pytest.raises(UserError, match="unknown protocol 's33'; did you mean 's3'"):
        open_folder("s33://bucket/runs")


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(UserError, match=r"^s3://bucket/runs: s3:// cannot .*: Install s3fs"):
        open_folder("s3://bucket/runs")
