"""Decides on windows, waits for their rows, and decodes one window ahead."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pipeline.config.follow import FollowConfig
from pipeline.data.stream.window import LogPosition, Window
from pipeline.data.stream.window_rows import WindowRows
from pipeline.faults.stop_signals import StopRequest
from pipeline.follow.open_stream import Stream
from pipeline.io.console import plain_console, print_line
from pipeline.ranks.coordinate import Flags, broadcast_from_rank0, gather_or_raise
from pipeline.ranks.world import World

_NOTICE_S = 30.0


class Windows:
    """The windows of a log, one after another. Rank 0 decides on them; all methods but `close` are
    collective.

    At most two windows are in memory: the current one and the next, decoded by a thread meanwhile.
    """

    def __init__(self, stream: Stream, config: FollowConfig, world: World, stop: StopRequest):
        self._stream = stream
        self._config = config
        self._world = world
        self._stop = stop
        self._flags = Flags(world, 1)
        batch = stream.global_batch
        self._rows = -(-config.window_rows // batch) * batch
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="window")
        self._ahead: tuple[Window, Future[WindowRows]] | None = None
        self._available = 0
        self._last_news = self._last_window = time.monotonic()
        self.stopped = False
        """Whether a signal to any rank has ended the wait."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def waiting_rows(self) -> int:
        """Rows of complete files that have not been taken, as of the last look of rank 0."""
        return self._available

    def next(self) -> WindowRows | None:
        """Wait for the next window and return it decoded; None if a signal asks to stop, or no row
        has come for follow.idle_stop_minutes.

        Raises UserError, on all ranks, if a file has changed, is damaged or has an invalid value.
        """
        if self._ahead is None:
            window = self._stream.source.unfinished or self._wait()
            if window is None:
                return None
            self._start(window)
        assert self._ahead is not None
        _, future = self._ahead
        self._ahead = None
        found = gather_or_raise(self._world, future.result)
        self._last_window = time.monotonic()
        return found

    def read_ahead(self, current: Window) -> None:
        """Start to decode the window after `current` if all its rows are there."""
        window = self._take(current.after, current.number + 1, waits=False)
        if window is not None:
            self._start(window)

    def _start(self, window: Window) -> None:
        self._ahead = window, self._pool.submit(self._stream.reader.read, window)

    def _wait(self) -> Window | None:
        source, told = self._stream.source, False
        start = self._last_news = time.monotonic()  # it takes two looks to see a file
        while True:
            self._flags.post([int(self._stop.received)])
            (stopped,) = self._flags.read()
            if stopped:
                self.stopped = True
                return None
            window = self._take(source.position, source.windows + 1, waits=True)
            if window is not None:
                return window
            if broadcast_from_rank0(self._world, self._is_idle()):
                return self._take(source.position, source.windows + 1, waits=True, is_last=True)
            if self._world.is_first:
                if not told and time.monotonic() - start > _NOTICE_S:
                    print_line(plain_console(), self._notice())
                    told = True
                time.sleep(self._config.poll_seconds)

    def _take(
        self, position: LogPosition, number: int, *, waits: bool, is_last: bool = False
    ) -> Window | None:
        """Return the next window; None on all ranks if its rows are not there. `waits`: whether a
        part of them will do when its time has come, as for the last window."""

        def decide() -> Window | None:
            if not self._world.is_first:
                return None
            log = self._stream.log
            log.look(position)
            available = log.available(position)
            if available != self._available:
                self._last_news = time.monotonic()
            self._available = available
            passed = time.monotonic() - self._last_window
            minutes = self._config.window_minutes
            rows = self._rows
            if available < rows and (is_last or (waits and 0 < minutes * 60 <= passed)):
                rows = available - available % self._stream.global_batch
            return log.take(position, rows, number=number)

        found = gather_or_raise(self._world, decide)
        return broadcast_from_rank0(self._world, found)

    def _is_idle(self) -> bool:
        minutes = self._config.idle_stop_minutes
        return 0 < minutes * 60 <= time.monotonic() - self._last_news

    def _notice(self) -> str:
        line = f"waiting for rows: {self._available:,} of {self._rows:,} of the next window"
        waiting = self._stream.log.waiting
        return line + "".join(f"; {problem}" for problem in list(waiting.values())[:1])
