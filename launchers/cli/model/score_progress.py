"""The line of progress of `homerec score`."""

from __future__ import annotations

import sys
import time

from pipeline.tracking.progress_line import duration_text, speed_text

_EVERY_S = 1.0


class Progress:
    """Prints rows, speed and remaining time; in place on a terminal, else every 10 seconds."""

    def __init__(self, what: str = "score") -> None:
        self._what = what
        self._start = time.monotonic()
        self._next = self._start + _EVERY_S
        self._in_place = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next and not (done == total and self._in_place):
            return
        self._next = now + (_EVERY_S if self._in_place else 10 * _EVERY_S)
        speed = done / max(now - self._start, 1e-9)
        line = (
            f"{self._what} {100 * done // max(total, 1):>3}%  {done:,}/{total:,} rows  "
            f"{speed_text(speed)} rows/s  eta {duration_text((total - done) / max(speed, 1e-9))}"
        )
        end = "\n" if done == total or not self._in_place else ""
        sys.stderr.write(f"\r{line}\x1b[K{end}" if self._in_place else f"{line}\n")
        sys.stderr.flush()
