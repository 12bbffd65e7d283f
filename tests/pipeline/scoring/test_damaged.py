"""A damaged model folder is one line that names the file, whatever the damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.io.errors import UserError
from pipeline.scoring.manifest import NAME, load_manifest
from pipeline.scoring.model import ExportedModel
from tests.mutations import json_mutations


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: tuple[Callable[[Path], None], ...] = (_cut, _flip, _empty, Path.unlink, _folder)


def test_every_file_is_verified(model_folder: Path, tmp_path: Path) -> None:
    files = [path.relative_to(model_folder) for path in model_folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    for name in files:
        for damage in DAMAGES:
            copy = tmp_path / "copy"
            shutil.copytree(model_folder, copy)
            damage(copy / name)
            with pytest.raises(UserError) as found:
                ExportedModel.load(copy)
            assert name.name in str(found.value)
            assert "\n" not in str(found.value)
            shutil.rmtree(copy)


def test_what_is_no_model_is_named(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not an exported model \\(no such folder\\)"):
        ExportedModel.load(tmp_path / "none")
    with pytest.raises(UserError, match=r"not an exported model \(no manifest\.json\)"):
        ExportedModel.load(tmp_path)


def test_a_model_without_parity_is_refused(model_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    load_manifest(copy)[0].model_copy(update={"parity": None}).save(copy)
    with pytest.raises(UserError, match="was not compared with evaluation; export it again"):
        ExportedModel.load(copy)


def test_a_manifest_that_was_edited_is_refused(model_folder: Path, tmp_path: Path) -> None:
    """The digest catches all; below it, types do: another version may write other values."""
    path = tmp_path / NAME
    value = json.loads((model_folder / NAME).read_text(encoding="utf-8"))
    for changed in json_mutations(value, count=30):
        path.write_text(json.dumps(changed, allow_nan=True), encoding="utf-8")
        if changed == value:
            continue
        with pytest.raises(UserError, match=r"manifest\.json: "):
            load_manifest(tmp_path)
