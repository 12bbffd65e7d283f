"""An increment leads from one model folder to another, byte for byte, or is refused."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pipeline.increments.increment import RefusedError, apply_increment, write_increment
from pipeline.scoring.manifest import file_record, load_manifest
from tests.pipeline.increments.models import changed, content


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_base_and_increment_are_the_new_model(
    model_folder: Path, tmp_path: Path, share: float
) -> None:
    old, before = model_folder, content(model_folder)
    for number in (1, 2, 3):
        new = changed(old, tmp_path / f"new{number}", seed=number, share=share)
        head = write_increment(old, new, tmp_path / "increment.zip", number)
        assert (sum(head.changed_rows.values()) > 0) == (share > 0)
        to = tmp_path / f"applied{number}"
        apply_increment(old, tmp_path / "increment.zip", to, verify=True)
        assert content(to) == content(new)
        old = to
    assert content(model_folder) == before


def test_an_increment_has_the_changed_rows_only(model_folder: Path, tmp_path: Path) -> None:
    new = changed(model_folder, tmp_path / "new", seed=0, share=0.0)
    write_increment(model_folder, new, tmp_path / "small.zip", 1)
    whole = changed(model_folder, tmp_path / "whole", seed=0, share=1.0)
    write_increment(model_folder, whole, tmp_path / "large.zip", 1)
    tables = sum(path.stat().st_size for path in (model_folder / "tables").iterdir())
    sizes = [(tmp_path / name).stat().st_size for name in ("small.zip", "large.zip")]
    assert sizes[1] - sizes[0] >= tables


def test_an_increment_on_another_model_is_foreign(model_folder: Path, tmp_path: Path) -> None:
    new = changed(model_folder, tmp_path / "new", seed=1)
    write_increment(model_folder, new, tmp_path / "increment.zip", 1)
    with pytest.raises(RefusedError, match="builds on model") as refused:
        apply_increment(new, tmp_path / "increment.zip", tmp_path / "to")
    assert refused.value.reason == "foreign"
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("cut", [False, True], ids=["a changed byte", "cut short"])
def test_damage_is_named_and_nothing_is_left(model_folder: Path, tmp_path: Path, cut: bool) -> None:
    new = changed(model_folder, tmp_path / "new", seed=1)
    whole = tmp_path / "increment.zip"
    write_increment(model_folder, new, whole, 1)
    data, expected = whole.read_bytes(), content(new)
    rng, refused = np.random.default_rng(0), 0
    # The description is at the end of the file, and small.
    places = [*rng.integers(0, len(data), 20), *rng.integers(len(data) - 2000, len(data), 20)]
    for place in places:
        damaged = bytearray(data[:place] if cut else data)
        if not cut:
            damaged[place] ^= 1 + rng.integers(0, 255)
        whole.write_bytes(damaged)
        to = tmp_path / "to"
        with suppress(RefusedError):
            apply_increment(model_folder, whole, to)
        if to.exists():  # times and the like in the headers of a zip file, which nothing reads
            assert content(to) == expected
            shutil.rmtree(to)
        else:
            refused += 1
            with pytest.raises(RefusedError, match=r"increment\.zip") as error:
                apply_increment(model_folder, whole, to)
            assert error.value.reason in ("damaged", "foreign")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["increment.zip", "new"]
    assert refused >= (len(places) if cut else len(places) // 2)


def test_a_file_outside_of_the_folder_is_not_written(model_folder: Path, tmp_path: Path) -> None:
    new = changed(model_folder, tmp_path / "new", seed=1)
    (tmp_path / "evil").write_bytes(b"evil")
    manifest, _ = load_manifest(new)
    files = {**manifest.files, "../evil": file_record(tmp_path / "evil")}
    manifest.model_copy(update={"files": files}).save(new)
    write_increment(model_folder, new, tmp_path / "increment.zip", 1)
    (tmp_path / "other").mkdir()
    with pytest.raises(RefusedError, match="outside of the model folder"):
        apply_increment(model_folder, tmp_path / "increment.zip", tmp_path / "other" / "to")
    assert not list((tmp_path / "other").iterdir())
