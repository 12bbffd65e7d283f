"""File systems that tables are read from: local disks, and those of pyarrow (S3, GCS, HDFS)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs

from pipeline.data.sources.files import first_line
from pipeline.io.errors import UserError, nearest
from pipeline.io.parquet_input import open_input

_SCHEMES = ["s3", "gs", "hdfs", "file"]
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_GCS_SECONDS = 30
"""How long to try again; without a limit an unreachable store is tried for many minutes."""
_OPTIONS = re.compile(r"\?[a-z_]+=[^?]*\Z")


@dataclass(frozen=True)
class Entry:
    """A file or folder; `path` is relative to the folder that was listed."""

    path: str
    is_folder: bool
    size: int


class Store(Protocol):
    """A file system. All methods raise OSError."""

    def info(self, path: str) -> Entry | None:
        """Return what is at `path`, or None."""

    def children(self, folder: str) -> list[Entry]:
        """List a folder."""

    def walk(self, folder: str) -> Iterator[Entry]:
        """List the files in a folder and in its subfolders."""

    def open(self, path: str) -> pa.NativeFile:
        """Open a file for random access."""


class LocalStore:
    """Local disks. Files are mapped into memory."""

    def info(self, path: str) -> Entry | None:
        """Return what is at `path`, or None."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte
            return None
        return Entry(path, os.path.isdir(path), found.st_size)

    def children(self, folder: str) -> list[Entry]:
        """List a folder."""
        with os.scandir(folder or ".") as entries:
            return [Entry(e.name, e.is_dir(), e.stat().st_size) for e in entries]

    def walk(self, folder: str) -> Iterator[Entry]:
        """List the files in a folder and in its subfolders, those behind links included."""
        yield from self._walk(folder, "", frozenset())

    def _walk(self, folder: str, prefix: str, above: frozenset[str]) -> Iterator[Entry]:
        real = os.path.realpath(folder)
        if real in above:  # a link to a folder that contains it
            return
        for entry in self.children(folder):
            path = prefix + entry.path
            if entry.is_folder:
                yield from self._walk(os.path.join(folder, entry.path), path + "/", above | {real})
            else:
                yield Entry(path, False, entry.size)

    def open(self, path: str) -> pa.NativeFile:
        """Open a file for random access."""
        # An empty file cannot be mapped.
        return open_input(Path(path), mapped=os.path.getsize(path) > 0)


class RemoteStore:
    """A file system of pyarrow."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def info(self, path: str) -> Entry | None:
        """Return what is at `path`, or None."""
        found = self._system.get_file_info(path)
        if found.type == pa.fs.FileType.NotFound:
            return None
        return Entry(path, found.type == pa.fs.FileType.Directory, found.size or 0)

    def children(self, folder: str) -> list[Entry]:
        """List a folder."""
        if not isinstance(self._system, pa.fs.GcsFileSystem):
            return self._list(folder, recursive=False)
        # Arrow lists only those folders of GCS that are objects, too (apache/arrow#35993).
        found: dict[str, Entry] = {}
        for entry in self._list(folder, recursive=True):
            name, _, inner = entry.path.partition("/")
            found.setdefault(name, Entry(name, True, 0) if inner else entry)
        return list(found.values())

    def walk(self, folder: str) -> Iterator[Entry]:
        """List the files in a folder and in its subfolders."""
        yield from (entry for entry in self._list(folder, recursive=True) if not entry.is_folder)

    def _list(self, folder: str, recursive: bool) -> list[Entry]:
        folder = folder.rstrip("/")
        selector = pa.fs.FileSelector(folder, recursive=recursive)
        return [
            Entry(
                found.path.removeprefix(folder).lstrip("/"),
                found.type == pa.fs.FileType.Directory,
                found.size or 0,
            )
            for found in self._system.get_file_info(selector)
        ]

    def open(self, path: str) -> pa.NativeFile:
        """Open a file for random access."""
        return self._system.open_input_file(path)


def open_store(address: str) -> tuple[Store, str, str]:
    """Return the store of a path or address, the prefix of names there, and the path in the store.

    S3 takes credentials, region and endpoint (AWS_ENDPOINT_URL) from the environment or the AWS
    configuration files, or options behind the address: s3://bucket/logs?region=eu-west-1. Raises
    UserError for an unknown scheme or a store that cannot be reached.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return LocalStore(), "", address
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return LocalStore(), "", rest
    if scheme not in _SCHEMES:
        raise UserError(f"{address}: unknown scheme {scheme!r}; {nearest(scheme, _SCHEMES)}")
    options = found[0] if (found := _OPTIONS.search(rest)) else ""
    rest = rest.removesuffix(options)
    host, _, path = rest.partition("/")
    if not host and scheme != "hdfs":  # hdfs:/// is the cluster of the Hadoop configuration
        raise UserError(f"{address}: no bucket; write {scheme}://BUCKET/PATH")
    if scheme == "gs" and "retry_limit_seconds" not in options:
        options += ("&" if options else "?") + f"retry_limit_seconds={_GCS_SECONDS}"
    try:
        system, base = _system(scheme, host, options, endpoint())
    except (pa.ArrowException, OSError, ValueError) as error:
        remedy = "check the address, the credentials and the region"
        if scheme == "hdfs":
            remedy = "check the address, and JAVA_HOME, HADOOP_HOME and CLASSPATH of libhdfs"
        raise UserError(f"{address}: cannot be opened ({first_line(error)}); {remedy}") from error
    base = base.rstrip("/")
    return RemoteStore(system), f"{scheme}://{host}".removesuffix(base), f"{base}/{path}"


def endpoint() -> str | None:
    """Return the address of an S3 server other than Amazon's, from the environment."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


@lru_cache(maxsize=16)
def _system(scheme: str, host: str, options: str, _endpoint: str | None) -> tuple[Any, str]:
    return pa.fs.FileSystem.from_uri(f"{scheme}://{host}{options}")
