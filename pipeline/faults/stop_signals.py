"""SIGTERM, SIGINT and SIGUSR1 as requests to save and stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class StopRequest:
    """What `stop_requests` has noted."""

    received: bool = False
    first: dict[int, float] = field(default_factory=dict)
    """When the first of each kind came, by time.monotonic."""
    old: dict[int, Any] = field(default_factory=dict)


# Slurm signals every process of a job, torchrun among them, which passes the signal on: under an
# agent a rank gets each twice. Within this many seconds it is the same one.
_SAME_S = 5.0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """SIGTERM, SIGINT and SIGUSR1 are noted, not obeyed at once; a second of a kind acts as ever.

    Of a kind: Slurm's warning (SIGUSR1) may be followed by its SIGTERM while the ranks still save.
    """
    request = StopRequest()
    same_s = _SAME_S if "TORCHELASTIC_RUN_ID" in os.environ else 0.0

    def note(number: int, frame: object) -> None:
        now = time.monotonic()
        request.received = True
        if number not in request.first:
            request.first[number] = now
        elif now - request.first[number] >= same_s:
            signal.signal(number, request.old[number])
            signal.raise_signal(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    for number in numbers:
        request.old[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number in numbers:
            signal.signal(number, request.old[number])
