"""Folders on this machine or at any fsspec address (s3://, gs://), with the API of pathlib.

`universal_pathlib` gives addresses the methods of `pathlib.Path`. This module adds clear errors,
listings without caching, deletion of folders, and syncing. In a store, files are written
atomically, folders exist if they contain a file, and nothing is renamed.
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
    """Return a path unchanged, `file://` as a `Path`, and any other address as a `UPath`.

    Raises UserError for an unknown protocol, a missing package, or an unreachable store (no
    credentials, no such bucket).
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
    """Like `folder.iterdir()`, without caching, because other processes write here, too."""
    if not isinstance(folder, Path):
        folder.fs.invalidate_cache(folder.path)
    yield from folder.iterdir()


def file_sizes(folder: AnyPath) -> dict[str, int]:
    """Return the bytes of each file in `folder`, by name; empty if the folder does not exist."""
    if isinstance(folder, Path):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    folder.fs.invalidate_cache(folder.path)
    if not folder.is_dir():
        return {}
    return {  # one request instead of one `stat` per file
        entry["name"].rstrip("/").rpartition("/")[2]: int(entry["size"])
        for entry in folder.fs.ls(folder.path, detail=True)
        if entry["type"] == "file"
    }


def remove_tree(folder: AnyPath, *, missing_ok: bool = False) -> None:
    """Delete a folder and everything in it, a link without its target, or a file."""
    if isinstance(folder, Path) and (folder.is_symlink() or not folder.is_dir()):
        folder.unlink(missing_ok=missing_ok)
    elif missing_ok and not folder.exists():
        return
    elif isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.fs.rm(folder.path, recursive=True)


def move(entry: AnyPath, folder: AnyPath, *, last: str) -> None:
    """Move a file or folder into `folder`, on the same disk or in the same store.

    A store copies each file, those named `last` at the end, and then deletes them in the opposite
    order: after a kill in between, one of the two places has everything.
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
    remove_tree(entry, missing_ok=True)  # empty folders


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
    """Return the free space for an error message, ' (12 MB free there)'; '' in a store."""
    if not isinstance(folder, Path):
        return ""
    while not folder.exists():
        folder = folder.parent
    return f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB free there)"
