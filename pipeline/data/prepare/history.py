"""What a user did before each impression: bags of recent events, without a loop over rows.

Rows come sorted by (user, time). Of each row only the rows of the same user with a *strictly
earlier* time are its past: rows of one user at equal times do not see each other, so nothing a row
says about itself, or about what was shown together with it, reaches its own features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.io.arrays import IntArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Past:
    """For each of N rows, where its past begins and ends: rows `begin[i]` to `end[i] - 1`."""

    begin: IntArray  # [N] first row of the same user
    end: IntArray  # [N] first row of the same user and the same time

    @property
    def num_rows(self) -> IntArray:
        """[N] how many earlier rows the user has."""
        return self.end - self.begin

    def count(self, event: Bools) -> IntArray:
        """[N] how many of the user's earlier rows have `event` [N]."""
        running = _running_count(event)
        return running[self.end] - running[self.begin]


@dataclass(frozen=True, slots=True)
class Bags:
    """For each of N rows its last events, oldest first: `events[begin[i]:end[i]]`."""

    events: IntArray  # [E] what happened: a row's number, or a video's
    begin: IntArray  # [N]
    end: IntArray  # [N]

    def gather(self, values: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
        """The bags of some rows, most recent event first.

        `values[event]` is what an event contributes to a bag, `rows` [R] which bags are wanted.
        Returns their lengths [R] and their values one after the other [sum of lengths].
        """
        lengths = self.end[rows] - self.begin[rows]
        newest_first = np.repeat(self.end[rows] - 1, lengths) - _steps(lengths)
        return lengths, values[self.events[newest_first]]


def find_past(user: IntArray, time: IntArray) -> Past:
    """The past of each row. `user` and `time` [N] are sorted by (user, time)."""
    new_user = np.ones(len(user), dtype=np.bool_)
    new_user[1:] = user[1:] != user[:-1]
    new_time = new_user.copy()
    new_time[1:] |= time[1:] != time[:-1]
    return Past(begin=_last_start(new_user), end=_last_start(new_time))


def until(past: Past, date: IntArray, limit: IntArray) -> Past:
    """The part of each row's past that ends before its user's first row of date `limit` or later.

    `date` and `limit` [N]. Dates need not rise with time: what lies between two rows of earlier
    dates may be of a later one, and then is where the past ends.
    """
    # The latest date so far of the row's user; users one after another make it rise over all rows.
    user = np.cumsum(past.begin == np.arange(len(date))) - 1
    span = max(date.max(initial=0), limit.max(initial=0)) + 1
    latest = np.maximum.accumulate(user * span + date)
    end = np.searchsorted(latest, user * span + limit)
    return Past(begin=past.begin, end=np.minimum(end, past.end))


def last_events(past: Past, event: Bools, max_history: int) -> Bags:
    """The last `max_history` rows with `event` [N] in each row's past, by row number."""
    running = _running_count(event)
    end = running[past.end]
    begin = np.maximum(running[past.begin], end - max_history)
    return Bags(events=np.flatnonzero(event), begin=begin, end=end)


class RollingEvents:
    """The last events of each user, when the rows come in chunks, chunk after chunk in time.

    Equal to last_events() over all chunks at once, if no two chunks have rows of a user at the
    same time. Memory: num_users * max_history * 4 bytes.
    """

    def __init__(self, num_users: int, max_history: int) -> None:
        self._items = np.zeros((num_users, max_history), dtype=np.int32)  # oldest first
        self._counts = np.zeros(num_users, dtype=np.int64)

    def advance(self, user: IntArray, past: Past, event: Bools, item: IntArray) -> Bags:
        """The bags of a chunk's rows [N], sorted by (user, time); then remember its events.

        `past` is of the chunk alone. `item` [N] is what to remember of a row with `event` [N].
        """
        max_history = self._items.shape[1]
        first = np.flatnonzero(past.begin == np.arange(len(user)))  # of each user's rows
        users, which = user[first], np.repeat(np.arange(len(first)), _sizes(first, len(user)))
        running = _running_count(event)
        carried = self._counts[users]
        total = carried + running[np.append(first[1:], len(user))] - running[first]
        start = np.cumsum(total) - total
        # A user's events side by side: the carried ones, then this chunk's.
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
    """[N] the nearest position at or before each one where `starts` [N] is true."""
    return np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))


def _running_count(event: Bools) -> IntArray:
    """[N + 1] how many events there are before each position."""
    return np.concatenate([[0], np.cumsum(event, dtype=np.int64)])


def _sizes(first: IntArray, num_rows: int) -> IntArray:
    return np.diff(first, append=num_rows)


def _steps(lengths: IntArray) -> IntArray:
    """0, 1, .. length - 1 for each of `lengths`, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
