"""Lines of a file that another process writes."""

from __future__ import annotations

import os
from pathlib import Path


class Tail:
    """The lines of a file that grows, is replaced, or begins again.

    torchrun empties a rank's log where ranks start again because a machine came back; a run that
    resumes replaces its metrics.jsonl.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode: int | None = None
        self._offset = 0
        self._rest = b""

    def lines(self, *, last: bool = False) -> list[str]:
        """What came since the last call, in whole lines; with `last` also one without an end.

        Raises FileNotFoundError while there is no file.
        """
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._inode, self._offset, self._rest = status.st_ino, 0, b""
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        if last and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode(errors="replace") for line in whole]
