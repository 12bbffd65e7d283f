"""Treats SIGTERM, SIGINT and SIGUSR1 as requests to save and stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.io.interrupts import NUMBERS, exit_at_once, same_signal_s


@dataclass
class StopRequest:
    """Signals recorded by `stop_requests`."""

    received: bool = False
    first: dict[int, float] = field(default_factory=dict)
    """Time of the first signal of each kind, by time.monotonic."""
    old: dict[int, Any] = field(default_factory=dict)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Record the first SIGTERM, SIGINT and SIGUSR1; a second one of the same kind exits at once.

    Signals are counted by kind, because Slurm may send SIGTERM after its warning (SIGUSR1) while
    ranks still save.
    """
    request = StopRequest()
    same_s = same_signal_s()

    def note(number: int, frame: object) -> None:
        now = time.monotonic()
        request.received = True
        if number not in request.first:
            request.first[number] = now
        elif now - request.first[number] >= same_s:
            exit_at_once(number)

    for number in NUMBERS:
        request.old[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number in NUMBERS:
            signal.signal(number, request.old[number])
