"""Folders on this machine or at any fsspec address (s3://, gs://), as pathlib has them.

`universal_pathlib` gives addresses the methods of `pathlib.Path`. This module adds clear errors,
listings that are never stale, deletion of folders, and syncing. In a store a file exists whole or
not at all, a folder exists if a file is in it, and nothing is ever renamed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipeline.io.errors import UserError, nearest

if TYPE_CHECKING:  # it imports fsspec and asyncio, too slow for --help
    from upath import UPath

AnyPath: TypeAlias = "Path | UPath"
"""A `Path` is on a file system that can rename; any other `UPath` is in a store that cannot."""

_LOCAL = ("file", "local")
# <fcntl.h> and <linux/fs.h>
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def open_folder(address: str | AnyPath) -> AnyPath:
    """Return a path as it is, `file://` as a `Path`, and any other address as a `UPath`.

    Raises UserError for an unknown protocol, a missing package, or a store that does not answer
    (no credentials, no such bucket).
    """
    if not isinstance(address, str):
        return address
    protocol, separator, rest = address.partition("://")
    if not separator:
        return Path(address)
    if protocol in _LOCAL:
        return Path(rest)
    from upath import UPath
    from upath.registry import available_implementations

    known = sorted(available_implementations(fallback=True))
    if protocol not in known and "::" not in protocol:
        raise UserError(f"{address}: unknown protocol {protocol!r}; {nearest(protocol, known)}")
    folder = UPath(address)
    try:
        folder.exists()
    except ImportError as error:
        raise UserError(f"{address}: {protocol}:// cannot be used: {error}") from error
    except ValueError as error:
        raise UserError(f"{address}: {error}; use an address like s3://bucket/runs/a") from error
    except Exception as error:  # the packages of stores share no base class
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{address}: cannot be reached: {message}; check the address and the credentials"
        ) from error
    return folder


def children(folder: AnyPath) -> Iterator[AnyPath]:
    """`folder.iterdir()`, fresh: other processes write here too."""
    if not isinstance(folder, Path):
        folder.fs.invalidate_cache(folder.path)
    yield from folder.iterdir()


def file_sizes(folder: AnyPath) -> dict[str, int]:
    """Bytes of each file in `folder`, by name; empty if there is no such folder."""
    if isinstance(folder, Path):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    folder.fs.invalidate_cache(folder.path)
    if not folder.is_dir():
        return {}
    return {  # one request, where `stat` would take one for each file
        entry["name"].rstrip("/").rpartition("/")[2]: int(entry["size"])
        for entry in folder.fs.ls(folder.path, detail=True)
        if entry["type"] == "file"
    }


def remove_tree(folder: AnyPath, *, missing_ok: bool = False) -> None:
    """Delete a folder and everything in it. Of a link, the link; of a file, the file."""
    if isinstance(folder, Path) and (folder.is_symlink() or folder.is_file()):
        folder.unlink()
    elif missing_ok and not folder.exists():
        return
    elif isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.fs.rm(folder.path, recursive=True)


def move(entry: AnyPath, folder: AnyPath, *, last: str) -> None:
    """Move a file or folder into `folder`, on the same disk or in the same store.

    A store copies each file, those named `last` after all others, and then deletes them in the
    opposite order: killed in between, one of the two places holds everything.
    """
    target = folder / entry.name
    if isinstance(entry, Path) or isinstance(target, Path):
        assert isinstance(entry, Path)
        assert isinstance(target, Path)
        entry.rename(target)
        return
    files = sorted(entry.fs.find(entry.path), key=lambda file: file.endswith(f"/{last}"))
    for file in files:
        copy = target.path + file.removeprefix(entry.path)
        entry.fs.makedirs(copy.rpartition("/")[0], exist_ok=True)
        entry.fs.copy(file, copy)
    for file in reversed(files):
        entry.fs.rm(file)
    remove_tree(entry, missing_ok=True)  # empty folders, where there are any


def exchange(first: Path, second: Path) -> bool:
    """Swap two names on one disk, at once; False where the file system cannot (NFS, for one)."""
    swap = ctypes.CDLL(None, use_errno=True).renameat2
    if swap(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries to the disk: the names in it and the files they point to."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_space(folder: AnyPath) -> str:
    """Free space for the message of a failed write, ' (12 MB free there)'; '' in a store."""
    if not isinstance(folder, Path):
        return ""
    while not folder.exists():
        folder = folder.parent
    return f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB free there)"
