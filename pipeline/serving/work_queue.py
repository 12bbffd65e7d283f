"""Threads that score, a bounded queue before them, and a deadline for each request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from pipeline.serving.http.answers import HttpError

_T = TypeVar("_T")


class WorkQueue:
    """Runs functions in `threads` threads. Used from one event loop."""

    def __init__(self, threads: int, queue: int, deadline_ms: int) -> None:
        self._threads = threads
        self._queue = queue
        self._deadline_ms = deadline_ms
        self._open = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="score", initializer=torch.set_num_threads, initargs=(1,)
        )

    @property
    def running(self) -> int:
        """Number of requests that are being scored."""
        return min(self._open, self._threads)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a thread."""
        return max(0, self._open - self._threads)

    async def run(self, function: Callable[[], _T]) -> _T:
        """Return what the function returns.

        Raises HttpError 429 if the queue is full, and 504 when the deadline has passed: the
        function does not start then, or what it returns is dropped.
        """
        if self._open >= self._threads + self._queue:
            raise HttpError(
                429,
                "queue_full",
                f"{self._queue} requests wait already; try again later",
                headers={"retry-after": "1"},
            )
        with self._lock:
            self._open += 1
        future = self._pool.submit(function)
        future.add_done_callback(self._finished)
        try:
            async with asyncio.timeout(self._deadline_ms / 1000):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise HttpError(
                504, "deadline", f"not answered within {self._deadline_ms} ms; try again later"
            ) from error

    def close(self) -> None:
        """End the threads, after what they do."""
        self._pool.shutdown(cancel_futures=True)

    def _finished(self, future: Future[_T]) -> None:
        """Called in a thread that scores, or in the event loop's for a cancelled function."""
        with self._lock:
            self._open -= 1
