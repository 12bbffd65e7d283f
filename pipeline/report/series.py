"""Curves of any length in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

Points = tuple[Sequence[int], Sequence[float | None]]

# More points than a screen has columns are drawn and downloaded for nothing.
MOST_POINTS = 2_000


class Series:
    """A curve that is added to point by point. Of a long one every n-th point stays, and the last.

    n is a power of 2, and between MOST_POINTS / 2 and MOST_POINTS of the points stay.
    """

    def __init__(self) -> None:
        self._points: list[tuple[int, float | None]] = []
        self._last: tuple[int, float | None] | None = None
        self._every = 1
        self._count = 0

    def add(self, step: int, value: float | None) -> None:
        self._last = step, value
        if self._count % self._every == 0:
            if len(self._points) == MOST_POINTS - 1:
                del self._points[1::2]
                self._every *= 2
            if self._count % self._every == 0:
                self._points.append(self._last)
        self._count += 1

    def points(self) -> Points:
        """Steps and values; None where a value was not finite."""
        points = list(self._points)
        if self._last is not None and points[-1] is not self._last:
            points.append(self._last)
        return [step for step, _ in points], [value for _, value in points]
