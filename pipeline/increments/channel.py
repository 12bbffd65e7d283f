"""Where a model is published: numbered full folders and increments, in a folder or a store.

PATH/full-NUMBER/              a model folder; its manifest is written last
PATH/increment-NUMBER.zip      leads from model NUMBER - 1 to NUMBER
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from pipeline.increments.increment import read_head
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath, children, open_folder, remove_tree, sync_folder
from pipeline.scoring.manifest import NAME, load_manifest

_FULL = re.compile(r"full-(\d{8})")
_INCREMENT = re.compile(r"increment-(\d{8})\.zip")


class Channel:
    """A published model. One publisher writes, any number of servers read."""

    def __init__(self, address: str) -> None:
        """Raises UserError if the address cannot be reached."""
        self.path: AnyPath = open_folder(address)

    def numbers(self) -> tuple[list[int], list[int]]:
        """Return the numbers of full folders and of increments, each ascending."""
        fulls, increments = [], []
        if self.path.exists():
            for entry in children(self.path):
                if found := _FULL.fullmatch(entry.name):
                    fulls += [int(found[1])] if (entry / NAME).exists() else []
                elif found := _INCREMENT.fullmatch(entry.name):
                    increments.append(int(found[1]))
        return sorted(fulls), sorted(increments)

    def newest(self) -> int:
        """Return the number of the newest model; 0 if none was published."""
        fulls, increments = self.numbers()
        return max([0, *fulls, *increments])

    def put_full(self, number: int, folder: Path) -> None:
        """Publish a model folder. Raises UserError if the number is taken."""
        target = self._full(number)
        if (target / NAME).exists():
            raise _taken(target)
        if not isinstance(target, Path):
            _upload(folder, target)
            return
        partial = target.with_name(f".{target.name}.partial")
        remove_tree(partial, missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, partial)
        partial.rename(target)
        sync_folder(target.parent)

    def put_increment(self, number: int, file: Path) -> None:
        """Publish an increment. Raises UserError if the number is taken."""
        target = self._increment(number)
        if target.exists():
            raise _taken(target)
        if not isinstance(target, Path):
            target.fs.put_file(os.fspath(file), target.path)
            return
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(file, partial)
        try:
            os.link(partial, target)  # fails if another publisher was faster
        except FileExistsError as error:
            raise _taken(target) from error
        finally:
            partial.unlink()
        sync_folder(target.parent)

    def digest(self, number: int, work: Path) -> str | None:
        """Return the digest of a model; None if neither form of it is there any more.

        `work`: local folder for a copy of what is read.
        """
        with tempfile.TemporaryDirectory(prefix=".digest.", dir=work) as name:
            fulls, increments = self.numbers()
            if number in fulls:
                (Path(name) / NAME).write_bytes((self._full(number) / NAME).read_bytes())
                return load_manifest(Path(name))[1]
            if number in increments:
                self.fetch_increment(number, Path(name) / "increment.zip")
                return read_head(Path(name) / "increment.zip").digest
        return None

    def fetch_full(self, number: int, to: Path) -> None:
        """Copy a model folder, which `to` must not be yet."""
        source = self._full(number)
        if isinstance(source, Path):
            shutil.copytree(source, to)
        else:
            source.fs.get(source.path, os.fspath(to), recursive=True)

    def fetch_increment(self, number: int, to: Path) -> None:
        """Copy an increment to a file."""
        source = self._increment(number)
        if isinstance(source, Path):
            shutil.copyfile(source, to)
        else:
            source.fs.get_file(source.path, os.fspath(to))

    def prune(self, keep: int) -> list[str]:
        """Remove all that the newest `keep` full folders and what follows them do not need.

        Returns the names of what was removed.
        """
        fulls, increments = self.numbers()
        if len(fulls) <= keep:
            return []
        first = fulls[-keep]
        old = [self._increment(number) for number in increments if number <= first]
        old += [self._full(number) for number in fulls if number < first]
        for entry in old:
            remove_tree(entry) if entry.is_dir() else entry.unlink()
        return [entry.name for entry in old]

    def _full(self, number: int) -> AnyPath:
        return self.path / f"full-{number:08d}"

    def _increment(self, number: int) -> AnyPath:
        return self.path / f"increment-{number:08d}.zip"


def _taken(target: AnyPath) -> UserError:
    return UserError(
        f"{target}: was published by another process; let one process alone publish to a folder"
    )


def _upload(folder: Path, target: AnyPath) -> None:
    assert not isinstance(target, Path)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: path == folder / NAME):
        place = target / path.relative_to(folder).as_posix()
        place.fs.makedirs(place.path.rpartition("/")[0], exist_ok=True)
        place.fs.put_file(os.fspath(path), place.path)
