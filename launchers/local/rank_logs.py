"""Output of the ranks of a job, on one console."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from pipeline.io.rank_exit import RankExit, read_exit
from pipeline.tracking.progress_line import PROGRESS_LINE

_CLEAR_LINE = "\r\x1b[2K"
# torch puts the rank before every line of a traceback once ranks have met.
_RANK_TAG = re.compile(r"^\[rank\d+\]: ?")
_TRACEBACK = "Traceback (most recent call last)"
# A rank's traceback is held back this long: if it ends the job, the right place is the last.
_HOLD_S = 10.0


class RankConsole:
    """Lines of rank 0 as they are; of others, with a tag, those that rank 0 does not have."""

    def __init__(self) -> None:
        self._in_place = sys.stdout.isatty()
        self._bar_is_up = False
        self._recent: deque[str] = deque(maxlen=200)

    def write(self, rank: int, line: str, to: TextIO) -> None:
        """Show one line (without its newline) that `rank` wrote to stdout or stderr."""
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


class Tail:
    """The lines of a file that grows, or begins again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def lines(self, *, last: bool = False) -> list[str]:
        """What came since the last call, in whole lines; with `last` also one without an end."""
        with self._path.open("rb") as file:
            # torchrun begins a file again where ranks start again because a machine came back: that
            # counts as no restart, and files are named by those.
            if os.fstat(file.fileno()).st_size < self._offset:
                self._offset, self._rest = 0, b""
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        if last and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode(errors="replace") for line in whole]


class RankLog:
    """Both streams of one rank. A traceback is shown late: the end of a job may be its place."""

    def __init__(self, rank: int, folder: Path) -> None:
        self.rank = rank
        self.traceback: list[str] = []
        self._out = Tail(folder / "stdout.log")
        self._err = Tail(folder / "stderr.log")
        self._exit_path = folder / "error.json"
        self._traceback_since: float | None = None

    def show(self, console: RankConsole, *, last: bool = False) -> None:
        """Show new lines, but the one that the rank ended with and tracebacks."""
        for line in self._out.lines(last=last):
            console.write(self.rank, line, sys.stdout)
        lines = self._err.lines(last=last)
        end = self.exit if lines else None  # a rank writes its file first, then the line
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
            self.release(console)  # the job continues: whoever watches needs to see what happened

    @property
    def exit(self) -> RankExit | None:
        """How the rank says that it ended."""
        return read_exit(self._exit_path)

    def release(self, console: RankConsole) -> None:
        """Show the traceback that waits."""
        if self._traceback_since is not None:
            for line in self.traceback:
                console.write(self.rank, line, sys.stderr)
            self._traceback_since = None
