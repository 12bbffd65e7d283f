"""Folders on this machine, or at any address that fsspec knows (s3://, gs://, memory://)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import fsspec
from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from pipeline.io.errors import UserError, nearest

_LOCAL = ("file", "local")


@dataclass(frozen=True, slots=True)
class Remote:
    """A place in an fsspec file system, with those of pathlib's verbs that checkpoints need.

    A file is there whole or not at all; a folder is there if a file is in it. Nothing is renamed:
    object stores cannot.
    """

    protocol: str
    fs: Any
    path: str
    """As the file system names it, without the protocol."""

    def __str__(self) -> str:
        path = self.path if self.protocol in _LOCAL else self.path.lstrip("/")
        return f"{self.protocol}://{path}"

    def __truediv__(self, name: str) -> Remote:
        return Remote(self.protocol, self.fs, f"{self.path.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Remote:
        return Remote(self.protocol, self.fs, self.path.rstrip("/").rpartition("/")[0])

    def exists(self) -> bool:
        return bool(self.fs.exists(self.path))

    def is_file(self) -> bool:
        return bool(self.fs.isfile(self.path))

    def is_dir(self) -> bool:
        return bool(self.fs.isdir(self.path))

    def iterdir(self) -> Iterator[Remote]:
        self.fs.invalidate_cache(self.path)  # other processes write here too
        for found in self.fs.ls(self.path, detail=False):
            yield Remote(self.protocol, self.fs, str(found))

    def open(self, mode: str) -> IO[bytes]:
        found: IO[bytes] = self.fs.open(self.path, mode)
        return found

    def read_text(self) -> str:
        return str(self.fs.cat_file(self.path).decode())

    def write_text(self, text: str) -> None:
        self.fs.pipe_file(self.path, text.encode())

    def mkdir(self, *, parents: bool = True, exist_ok: bool = True) -> None:
        self.fs.makedirs(self.path, exist_ok=exist_ok)

    def unlink(self, *, missing_ok: bool = False) -> None:
        if not missing_ok or self.exists():
            self.fs.rm_file(self.path)


AnyPath: TypeAlias = Path | Remote


def open_folder(address: str | Path) -> AnyPath:
    """A path as it is; file:// as the path in it; any other protocol as a `Remote`.

    UserError for a protocol that is not known, whose package is not installed, or that does not
    answer (no credentials, no such bucket).
    """
    text = str(address)
    if isinstance(address, Path) or "://" not in text:
        return Path(text)
    protocol, _, rest = text.partition("://")
    if protocol in _LOCAL:
        return Path(rest)
    if protocol not in known_implementations and protocol not in fsspec.available_protocols():
        known = sorted(known_implementations)
        raise UserError(f"{text}: protocol {protocol!r} is not known; {nearest(protocol, known)}")
    try:
        fs, path = url_to_fs(text)
    except ImportError as error:
        raise UserError(f"{text}: {protocol}:// cannot be used here: {error}") from error
    except ValueError as error:
        raise UserError(f"{text}: {error}; name a folder such as s3://bucket/runs/a") from error
    found = Remote(protocol, fs, str(path))
    try:
        found.exists()
    except Exception as error:  # whatever the store's own package raises
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{text}: cannot be reached: {message}; look at address and credentials"
        ) from error
    return found


def listing(folder: AnyPath) -> dict[str, int]:
    """The files in `folder`, by name, with their bytes; none if there is no such folder."""
    if isinstance(folder, Path):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    folder.fs.invalidate_cache(folder.path)
    if not folder.is_dir():
        return {}
    entries = folder.fs.ls(folder.path, detail=True)
    return {
        entry["name"].rstrip("/").rpartition("/")[2]: int(entry["size"])
        for entry in entries
        if entry["type"] == "file"
    }


def remove_tree(folder: AnyPath, *, missing_ok: bool = False) -> None:
    """The folder and all that is in it."""
    if missing_ok and not folder.exists():
        return
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.fs.rm(folder.path, recursive=True)


def sync_folder(folder: Path) -> None:
    """Names in it, and which file each means, to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_space(folder: AnyPath) -> str:
    """For a message about a write that failed: what is free there, if that can be known."""
    if not isinstance(folder, Path):
        return ""
    while not folder.exists():
        folder = folder.parent
    return f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB free there)"
