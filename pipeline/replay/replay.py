"""Writes the rows of a log at the pace of their times, or a multiple of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.replay.log import Log
from pipeline.replay.sinks import Sink


def replay(
    log: Log,
    sink: Sink,
    *,
    speed: float,
    every_s: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Write the log to `sink` and return the number of rows.

    Args:
        speed: seconds of the log per second; 0: as fast as possible.
        every_s: seconds between two writes; of the log if `speed` is 0.
    """
    start, done = time.monotonic(), 0
    for part in log.slices(every_s * speed if speed else every_s):
        if speed and (left := start + part.after_s / speed - time.monotonic()) > 0:
            sleep(left)
        sink.write(part.rows)
        done += len(part.rows)
        progress(done, len(log.rows))
    return done
