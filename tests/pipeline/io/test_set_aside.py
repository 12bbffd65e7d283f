"""Whatever is killed at whatever moment: the old one is there, or the new one has saved."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from upath import UPath

from pipeline.checkpoint.layout import is_ours
from pipeline.io import set_aside
from pipeline.io.errors import UserError
from pipeline.io.set_aside import FAILED, SAVED, Replaced, is_pending, recover, standing
from pipeline.io.storage import AnyPath

_CALLS = (
    (Path, "replace"),
    (Path, "rename"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (shutil, "rmtree"),
    (LocalFileSystem, "cp_file"),
    (LocalFileSystem, "rm_file"),
)


class Killed(BaseException):
    """What no code of ours catches."""


@contextmanager
def killed_at(moment: int) -> Iterator[None]:
    """Raises Killed at the `moment`-th change of the disk, from 0; or never comes so far."""
    done = itertools.count()

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(done) >= moment:
                raise Killed
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in _CALLS:
            patch.setattr(owner, name, dying(getattr(owner, name)))
        yield


def contents(*folders: AnyPath) -> list[dict[str, str]]:
    """Text of every file, but for those of a start that failed."""
    return [
        {
            str(path.relative_to(folder)): path.read_text(encoding="utf-8")
            for path in Path(str(folder).removeprefix("file://")).rglob("*")
            if path.is_file() and FAILED not in path.parts
        }
        for folder in (Path(str(one).removeprefix("file://")) for one in folders)
    ]


def make(out: Path, checkpoints: AnyPath, text: str) -> None:
    for name in ("config.json", "metrics.jsonl", "tensorboard/events"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")
    for step in (5, 8):
        folder = checkpoints / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in (".metadata", "__0_0.distcp", "manifest.json", "meta.json"):
            (folder / name).write_text(text, encoding="utf-8")
    (checkpoints / "best.json").write_text(text, encoding="utf-8")
    (checkpoints / "notes.txt").write_text("of somebody else", encoding="utf-8")


def has_saved(out: Path) -> bool:
    return (out / SAVED).exists()


def replace(out: Path, outside: list[AnyPath], *, saves: bool) -> None:
    """A start with --overwrite: it leaves something and ends, or saves."""
    replaced = Replaced(out, outside, is_ours)
    replaced.set_aside()
    (out / "config.json").write_text("new", encoding="utf-8")
    if saves:
        (out / SAVED).write_text("{}", encoding="utf-8")
        replaced.discard()
    else:
        assert replaced.put_back()


def places(tmp_path: Path, kind: str) -> tuple[Path, AnyPath, list[AnyPath]]:
    out = tmp_path / "run"
    if kind == "inside":
        return out, out / "checkpoints", []
    if kind == "linked":
        (tmp_path / "disk").mkdir()
        out.mkdir()
        (out / "checkpoints").symlink_to("../disk")
        return out, out / "checkpoints", [(out / "checkpoints").absolute()]
    store = UPath(f"file://{tmp_path / 'store'}")  # not a Path: copied, as in a store
    return out, store, [store]


@pytest.mark.parametrize("kind", ["inside", "linked", "store"])
@pytest.mark.parametrize("saves", [False, True])
def test_a_kill_at_any_moment_costs_neither_run(
    kind: str, saves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_aside, "open_folder", UPath)  # a store's address, of this disk
    for moment in itertools.count():
        out, checkpoints, outside = places(tmp_path, kind)
        make(out, checkpoints, "old")
        before = contents(out, checkpoints)
        died = False
        try:
            with killed_at(moment):
                replace(out, outside, saves=saves)
        except Killed:
            died = True
        won = has_saved(out)
        if died:
            config = standing(out) / "config.json"
            assert config.read_text(encoding="utf-8") == ("new" if won else "old")
            if moment % 2:  # and again in mending it
                with suppress(Killed), killed_at(moment // 3):
                    recover(out, is_ours, has_saved)
            recover(out, is_ours, has_saved)
        assert not is_pending(out)
        after = contents(out, checkpoints)
        if won:
            assert after[0].get("config.json") == "new"
            assert "old" not in {text for found in after for text in found.values()}
        else:
            assert after == before
        assert (
            Path(str(checkpoints).removeprefix("file://")) / "notes.txt"
        ).exists() or not outside
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if not died:
            return


def test_what_a_start_left_that_saved_nothing_is_kept_aside(tmp_path: Path) -> None:
    make(tmp_path, tmp_path / "checkpoints", "old")
    replaced = Replaced(tmp_path, [], is_ours)
    for name in ("first.pt", "second.pt"):
        replaced.set_aside()
        (tmp_path / "debug").mkdir()
        (tmp_path / "debug" / name).touch()
        assert replaced.put_back()
    assert [path.name for path in (tmp_path / FAILED / "debug").iterdir()] == ["second.pt"]
    assert not replaced.put_back()


@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("kind", ["inside", "linked"])
def test_a_signal_while_it_is_moved_brings_it_back(
    kind: str, moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, checkpoints, outside = places(tmp_path, kind)
    make(out, checkpoints, "old")
    before = contents(out, checkpoints)
    calls, real = itertools.count(), Path.rename

    def rename(path: Path, target: Path) -> Path:
        moved = real(path, target)
        if next(calls) == moment:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        Replaced(out, outside, is_ours).set_aside()
    assert contents(out, checkpoints) == before
    assert not is_pending(out)


def test_where_a_disk_is_full_the_files_of_the_new_start_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, tmp_path / "checkpoints", "old")
    before = contents(tmp_path)
    replaced, real = Replaced(tmp_path, [], is_ours), os.fsync
    replaced.set_aside()
    (tmp_path / "metrics.jsonl").write_text("new", encoding="utf-8")

    def fsync(handle: int) -> None:
        if (tmp_path / FAILED).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert replaced.put_back()
    assert contents(tmp_path) == before
    assert not is_pending(tmp_path)


def test_another_process_that_came_later_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path, tmp_path / "checkpoints", "old")
    first, second = (Replaced(tmp_path, [], is_ours) for _ in range(2))
    first.set_aside()
    recover(tmp_path, is_ours, has_saved)
    second.set_aside()
    assert not first.put_back()
    first.discard()
    assert is_pending(tmp_path)
    assert second.put_back()
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == "old"


def test_a_disk_that_is_away_is_waited_for(tmp_path: Path) -> None:
    out, _, outside = places(tmp_path, "linked")
    make(out, outside[0], "old")
    Replaced(out, outside, is_ours).set_aside()
    (tmp_path / "disk").rename(tmp_path / "away")
    (tmp_path / "disk").mkdir()
    with pytest.raises(UserError, match=r"is empty, but checkpoints .* restore them"):
        recover(out, is_ours, has_saved)
    (tmp_path / "disk").rmdir()
    (tmp_path / "away").rename(tmp_path / "disk")
    recover(out, is_ours, has_saved)
    assert (outside[0] / "step-00000008" / "manifest.json").exists()
