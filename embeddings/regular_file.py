"""Tells a file from a folder, pipe, socket or device; opening a pipe blocks without a writer."""

from __future__ import annotations

import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def other_than_file(path: Path) -> str | None:
    """What `path` is, such as 'a folder' or 'a pipe'; None for a file, and for a path that does not
    exist or cannot be examined."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return None
