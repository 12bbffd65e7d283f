"""Computes bags of a user's recent events before each impression, without a loop over rows.

Rows are sorted by (user, time). The past of a row contains only rows of the same user with a
*strictly earlier* time. Rows of a user at equal times do not see each other, so the features of a
row contain nothing about the row itself or about items shown with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.io.arrays import IntArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Past:
    """The past of each of N rows: rows `begin[i]` to `end[i] - 1`."""

    begin: IntArray  # [N] first row of the same user
    end: IntArray  # [N] first row of the same user and the same time

    @property
    def num_rows(self) -> IntArray:
        """[N] number of earlier rows of the user."""
        return self.end - self.begin

    def count(self, event: Bools) -> IntArray:
        """Return the number of the user's earlier rows with `event` [N], [N]."""
        running = _running_count(event)
        return running[self.end] - running[self.begin]


@dataclass(frozen=True, slots=True)
class Bags:
    """For each of N rows its last events, oldest first: `events[begin[i]:end[i]]`."""

    events: IntArray  # [E] what happened: a row's number, or a video's
    begin: IntArray  # [N]
    end: IntArray  # [N]

    def gather(self, values: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return the bags of some rows, most recent event first.

        `values[event]` is the value of an event in a bag, `rows` [R] are the rows of the bags.
        Returns their lengths [R] and their concatenated values [sum of lengths].
        """
        lengths = self.end[rows] - self.begin[rows]
        newest_first = np.repeat(self.end[rows] - 1, lengths) - _steps(lengths)
        return lengths, values[self.events[newest_first]]


def find_past(user: IntArray, time: IntArray) -> Past:
    """Return the past of each row. `user` and `time` [N] are sorted by (user, time)."""
    new_user = np.ones(len(user), dtype=np.bool_)
    new_user[1:] = user[1:] != user[:-1]
    new_time = new_user.copy()
    new_time[1:] |= time[1:] != time[:-1]
    return Past(begin=_last_start(new_user), end=_last_start(new_time))


def until(past: Past, date: IntArray, limit: IntArray) -> Past:
    """Return the part of each row's past before its user's first row of date `limit` or later.

    `date` and `limit` [N]. Dates may decrease with time: a row between two rows of earlier dates
    may have a later date, and the past then ends there.
    """
    # The user's latest date so far; adding the user makes it increase over all rows.
    user = np.cumsum(past.begin == np.arange(len(date))) - 1
    span = max(date.max(initial=0), limit.max(initial=0)) + 1
    latest = np.maximum.accumulate(user * span + date)
    end = np.searchsorted(latest, user * span + limit)
    return Past(begin=past.begin, end=np.minimum(end, past.end))


def last_events(past: Past, event: Bools, max_history: int) -> Bags:
    """Return the last `max_history` rows with `event` [N] in each row's past, by row index."""
    running = _running_count(event)
    end = running[past.end]
    begin = np.maximum(running[past.begin], end - max_history)
    return Bags(events=np.flatnonzero(event), begin=begin, end=end)


class RollingEvents:
    """Keeps the last events of each user over chunks of rows in time order.

    Equal to last_events() over all chunks at once if no two chunks have rows of a user at the same
    time. Memory: num_users * max_history * 4 bytes.
    """

    def __init__(self, num_users: int, max_history: int) -> None:
        self._items = np.zeros((num_users, max_history), dtype=np.int32)  # oldest first
        self._counts = np.zeros(num_users, dtype=np.int64)

    def advance(self, user: IntArray, past: Past, event: Bools, item: IntArray) -> Bags:
        """Return the bags of a chunk's rows [N], sorted by (user, time); then store its events.

        `past` covers only the chunk. `item` [N] is the value to store for a row with `event` [N].
        """
        max_history = self._items.shape[1]
        first = np.flatnonzero(past.begin == np.arange(len(user)))  # first row of each user
        users, which = user[first], np.repeat(np.arange(len(first)), _sizes(first, len(user)))
        running = _running_count(event)
        carried = self._counts[users]
        total = carried + running[np.append(first[1:], len(user))] - running[first]
        start = np.cumsum(total) - total
        # Concatenate each user's events: stored ones, then those of this chunk.
        events = np.empty(total.sum(), dtype=np.int64)
        steps = _steps(carried)
        events[np.repeat(start, carried) + steps] = self._items[np.repeat(users, carried), steps]
        base = (start + carried)[which]
        events[(base + running[:-1] - running[past.begin])[event]] = item[event]

        end = base + past.count(event)
        bags = Bags(events, begin=np.maximum(start[which], end - max_history), end=end)
        kept = np.minimum(total, max_history)
        steps = _steps(kept)
        newest = events[np.repeat(start + total - kept, kept) + steps]
        self._items[np.repeat(users, kept), steps] = newest
        self._counts[users] = kept
        return bags


def _last_start(starts: Bools) -> IntArray:
    """Return the nearest position at or before each one where `starts` [N] is true, [N]."""
    return np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))


def _running_count(event: Bools) -> IntArray:
    """Return the number of events before each position, [N + 1]."""
    return np.concatenate([[0], np.cumsum(event, dtype=np.int64)])


def _sizes(first: IntArray, num_rows: int) -> IntArray:
    return np.diff(first, append=num_rows)


def _steps(lengths: IntArray) -> IntArray:
    """Return 0, 1, ..., length - 1 for each of `lengths`, concatenated."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
