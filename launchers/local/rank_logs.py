"""Prints the output of a job's ranks on one console."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from launchers.local.tail import Tail
from pipeline.io.rank_exit import RankExit, read_exit
from pipeline.tracking.progress_line import PROGRESS_LINE

_CLEAR_LINE = "\r\x1b[2K"
# torch prefixes every line of a traceback with the rank once the process group exists.
_RANK_TAG = re.compile(r"^\[rank\d+\]: ?")
_TRACEBACK = "Traceback (most recent call last)"
# A rank's traceback is held back this long: if it ends the job, it is printed last.
_HOLD_S = 10.0


class RankConsole:
    """Prints the lines of rank 0, and tagged lines of other ranks that rank 0 does not have."""

    def __init__(self) -> None:
        self._in_place = sys.stdout.isatty()
        self._bar_is_up = False
        self._recent: deque[str] = deque(maxlen=200)

    def write(self, rank: int, line: str, to: TextIO) -> None:
        """Print a line (without its newline) that `rank` wrote to stdout or stderr."""
        bar = PROGRESS_LINE.fullmatch(line)
        if rank and (bar or not line.strip() or line in self._recent):
            return
        if self._bar_is_up:
            sys.stdout.write(_CLEAR_LINE)
            sys.stdout.flush()
        self._bar_is_up = self._in_place and bar is not None and bar["percent"] != "100"
        if self._bar_is_up:
            to.write(line[: shutil.get_terminal_size().columns - 1])
        else:
            tag = f"[rank{rank}]: " if rank and not _RANK_TAG.match(line) else ""
            to.write(f"{tag}{line}\n")
        to.flush()
        if not bar:
            self._recent.append(line)


class RankLog:
    """Prints both streams of one rank. Tracebacks are delayed: one that ends the job comes last."""

    def __init__(self, rank: int, folder: Path) -> None:
        self.rank = rank
        self.traceback: list[str] = []
        self._out = Tail(folder / "stdout.log")
        self._err = Tail(folder / "stderr.log")
        self._exit_path = folder / "error.json"
        self._traceback_since: float | None = None

    def show(self, console: RankConsole, *, last: bool = False) -> None:
        """Print new lines, except tracebacks and the error line that the rank ended with."""
        for line in self._out.lines(last=last):
            console.write(self.rank, line, sys.stdout)
        lines = self._err.lines(last=last)
        end = self.exit if lines else None  # a rank writes the file before the line
        for line in lines:
            plain = _RANK_TAG.sub("", line)
            if end and plain == end.line:
                continue
            if self._traceback_since is not None:
                self.traceback.append(plain)
            elif plain.startswith(_TRACEBACK):
                self._traceback_since = time.monotonic()
                self.traceback = [plain]
            else:
                console.write(self.rank, line, sys.stderr)
        if self._traceback_since is not None and time.monotonic() - self._traceback_since > _HOLD_S:
            self.release(console)  # the job continues, so print it now

    @property
    def exit(self) -> RankExit | None:
        """The exit that the rank recorded, if any."""
        return read_exit(self._exit_path)

    def release(self, console: RankConsole) -> None:
        """Print the delayed traceback."""
        if self._traceback_since is not None:
            for line in self.traceback:
                console.write(self.rank, line, sys.stderr)
            self._traceback_since = None
