"""Does the same with many files at once, since most of the time goes into waiting for stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_THREADS = 4


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return `function` of each item. Raises what it raises for the first item that fails; the
    others are not begun then."""
    pool = ThreadPoolExecutor(max(1, min(_THREADS, len(items))))
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)
