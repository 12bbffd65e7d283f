"""Finds and signals the descendants of this process (Linux), so that a job leaves none behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make orphaned descendants children of this process instead of init."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Make the kernel send this process SIGTERM when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def dying_with_parent(command: list[str]) -> list[str]:
    """Wrap `command` so that the kernel sends it SIGTERM when its parent dies, even by SIGKILL.

    Uses util-linux's setpriv; if it is missing, returns the command unchanged.
    """
    tool = shutil.which("setpriv")
    return [tool, "--pdeathsig", "TERM", *command] if tool else command


def children(pid: int) -> list[int]:
    """Return the child processes of `pid`."""
    return _by_parent()[pid]


def below(pid: int) -> list[int]:
    """Return all descendants of `pid`, parents before children."""
    by_parent = _by_parent()
    found = list(by_parent[pid])
    for one in found:
        found += by_parent[one]
    return found


def _by_parent() -> defaultdict[int, list[int]]:
    tree: defaultdict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended in the meantime
            # "pid (name) state parent ...": the name may contain spaces and brackets.
            state, parent = (
                stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
            )
            if state != "Z":  # zombie: ended, not yet waited for
                tree[int(parent)].append(int(stat.parent.name))
    return tree


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
