"""Computes the results of tasks ahead with threads, and yields them in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Out = TypeVar("Out")


def in_order(tasks: Iterable[Callable[[], Out]], num_workers: int) -> Generator[Out]:
    """Yield the results of `tasks` in order; threads compute up to `num_workers` of them ahead.

    With 0 workers each task runs when its result is requested. An exception of a task is raised in
    place of its result. Closing the iterator stops the threads.
    """
    if num_workers == 0:
        for task in tasks:
            yield task()
        return
    with ThreadPoolExecutor(num_workers, thread_name_prefix="reader") as pool:
        pending: deque[Future[Out]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                if len(pending) > num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
