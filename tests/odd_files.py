"""What is no file in the place of one: reading a pipe would wait for ever."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

KINDS = {"folder": "a folder", "pipe": "a pipe", "socket": "a socket", "device": "a device"}


def put(kind: str, path: Path) -> None:
    """Replace what is at `path`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "folder":
        (path / "in").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as one:  # its address is short, whatever the folder
            one.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)
