"""Prints what a rank waits for if it takes long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AFTER_S = 5.0


@contextmanager
def notice_if_slow(message: str, after: float = _AFTER_S) -> Iterator[threading.Timer]:
    """Print `message` on stderr if the block takes longer than `after` seconds."""
    timer = threading.Timer(after, sys.stderr.write, [f"homerec: {message}\n"])
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()
