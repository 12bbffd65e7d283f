"""Processes below this one, as Linux knows them: so that a job leaves none behind."""

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
    """From now on a process below us whose parent dies becomes our child, not init's."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """From now on the kernel sends this process SIGTERM once its parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def dying_with_parent(command: list[str]) -> list[str]:
    """`command`, sent SIGTERM by the kernel once its parent is gone, be it by SIGKILL.

    util-linux's setpriv does it; where that is missing the command stays as it is.
    """
    tool = shutil.which("setpriv")
    return [tool, "--pdeathsig", "TERM", *command] if tool else command


def children(pid: int) -> list[int]:
    """The processes that `pid` is the parent of."""
    return _by_parent()[pid]


def below(pid: int) -> list[int]:
    """Children of `pid` and theirs, all the way down; parents before children."""
    by_parent = _by_parent()
    found = list(by_parent[pid])
    for one in found:
        found += by_parent[one]
    return found


def _by_parent() -> defaultdict[int, list[int]]:
    tree: defaultdict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            # "pid (name) state parent ...": the name may hold spaces and brackets.
            state, parent = (
                stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
            )
            if state != "Z":  # over, only not yet waited for
                tree[int(parent)].append(int(stat.parent.name))
    return tree


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to each; one that ended meanwhile needs none."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
