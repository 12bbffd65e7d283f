"""A checkpoint with any byte changed, lost or gone is found out, and the file named."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoint.manifest import (
    CorruptError,
    FileDigest,
    Manifest,
    check_digests,
    check_sizes,
    digest,
    expected_files,
    files_of_rank,
    read_manifest,
    write_sealed,
)

FILES = {"__0_0.distcp": b"\0" * 3000, "__1_0.distcp": b"weights", "config.json": b"{}\n"}
LATER = {"results.json": b"[0.5]"}


def make(folder: Path) -> Path:
    for name, data in (FILES | LATER).items():
        (folder / name).write_bytes(data)
    files = {name: digest(folder / name) for name in FILES}
    Manifest(step=7, epoch=1, saved=3.5, world_size=2, files=files).save(folder)
    later = {"bytes": 5, "sha256": hashlib.sha256(b"[0.5]").hexdigest()}
    write_sealed(folder / "meta.json", {"step": 7, "files": {"results.json": later}})
    return folder


def check(folder: Path) -> None:
    expected = check_sizes(folder)
    check_digests(folder, expected, expected)


def test_a_valid_one_passes_and_tells_what_it_is(tmp_path: Path) -> None:
    check(make(tmp_path))
    manifest = read_manifest(tmp_path)
    assert (manifest.step, manifest.epoch, manifest.world_size) == (7, 1, 2)
    assert manifest.bytes == sum(map(len, FILES.values()))
    assert expected_files(tmp_path).keys() == FILES.keys() | LATER.keys()
    assert digest(tmp_path / "config.json").sha256 == hashlib.sha256(b"{}\n").hexdigest()


def test_a_key_that_is_given_twice_is_named(tmp_path: Path) -> None:
    """Also where the last one is right."""
    path = make(tmp_path) / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace("{", '{"step": 8,', 1), "utf-8")
    with pytest.raises(CorruptError, match=r"manifest.json cannot .*key 'step' is given twice"):
        read_manifest(tmp_path)


@given(data=st.data())
def test_any_flipped_bit_is_found_and_its_file_named(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name))
        path = data.draw(st.sampled_from(sorted(folder.iterdir())))
        old = path.read_bytes()
        bit = data.draw(st.integers(0, 8 * len(old) - 1))
        new = bytearray(old)
        new[bit // 8] ^= 1 << bit % 8
        path.write_bytes(new)
        # White space of JSON may turn into other white space: no change in what it says.
        if path.suffix == ".json" and new.split() == old.split():
            return
        with pytest.raises(CorruptError, match=f"^{re.escape(path.name)} "):
            check(folder)


@pytest.mark.parametrize("name", [*FILES, *LATER, "meta.json", "manifest.json"])
def test_what_is_cut_short_or_gone_is_named(name: str, tmp_path: Path) -> None:
    path = make(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CorruptError, match=f"^{re.escape(name)} "):
        check_sizes(tmp_path)
    path.unlink()
    with pytest.raises(CorruptError, match=f"^{re.escape(name)} is missing$"):
        check_sizes(tmp_path)


@given(sizes=st.lists(st.integers(0, 10**12), max_size=40), world_size=st.integers(1, 9))
def test_ranks_share_all_files_evenly(sizes: list[int], world_size: int) -> None:
    files = {str(number): FileDigest(size, "") for number, size in enumerate(sizes)}
    parts = [files_of_rank(files, rank, world_size) for rank in range(world_size)]
    assert sorted(name for mine in parts for name in mine) == sorted(files)
    loads = [sum(files[name].bytes for name in mine) for mine in parts]
    # Graham: dealt out like this, nobody has twice what the best sharing gives
    best = max([sum(sizes) / world_size, *sizes], default=0)
    assert max(loads) <= best * 2
