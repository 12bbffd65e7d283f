"""What a user did before each impression: bags of recent events, without a loop over rows.

Rows come sorted by (user, time). Of each row only the rows of the same user with a *strictly
earlier* time are its past: rows of one user at equal times do not see each other, so nothing a row
says about itself, or about what was shown together with it, reaches its own features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Past:
    """For each of N rows, where its past begins and ends: rows `begin[i]` to `end[i] - 1`."""

    begin: Ints  # [N] first row of the same user
    end: Ints  # [N] first row of the same user and the same time

    @property
    def num_rows(self) -> Ints:
        """[N] how many earlier rows the user has."""
        return self.end - self.begin

    def count(self, event: Bools) -> Ints:
        """[N] how many of the user's earlier rows have `event` [N]."""
        running = _running_count(event)
        return running[self.end] - running[self.begin]


@dataclass(frozen=True, slots=True)
class Bags:
    """For each of N rows its last events, as ranges of one flat array of row numbers."""

    events: Ints  # [E] row numbers that have the event, ascending
    begin: Ints  # [N] into events
    end: Ints  # [N] into events

    def gather(self, values: Ints, rows: Ints) -> tuple[Ints, Ints]:
        """Bags of the chosen `rows` [R], most recent event first.

        `values` [N] holds what an event contributes (a video's index, say).
        Returns lengths [R] and the bags' values one after the other [sum of lengths].
        """
        lengths = self.end[rows] - self.begin[rows]
        starts = np.cumsum(lengths) - lengths
        steps = np.arange(lengths.sum(), dtype=np.int64) - np.repeat(starts, lengths)
        newest_first = np.repeat(self.end[rows] - 1, lengths) - steps
        return lengths, values[self.events[newest_first]]


def find_past(user: Ints, time: Ints) -> Past:
    """The past of each row. `user` and `time` [N] are sorted by (user, time)."""
    new_user = np.ones(len(user), dtype=np.bool_)
    new_user[1:] = user[1:] != user[:-1]
    new_time = new_user.copy()
    new_time[1:] |= time[1:] != time[:-1]
    return Past(begin=_last_start(new_user), end=_last_start(new_time))


def last_events(past: Past, event: Bools, max_history: int) -> Bags:
    """The last `max_history` rows with `event` [N] in each row's past."""
    running = _running_count(event)
    end = running[past.end]
    begin = np.maximum(running[past.begin], end - max_history)
    return Bags(events=np.flatnonzero(event).astype(np.int64), begin=begin, end=end)


def _last_start(starts: Bools) -> Ints:
    """[N] the nearest position at or before each one where `starts` [N] is true."""
    return np.maximum.accumulate(np.where(starts, np.arange(len(starts), dtype=np.int64), 0))


def _running_count(event: Bools) -> Ints:
    """[N + 1] how many events there are before each position."""
    return np.concatenate([[0], np.cumsum(event, dtype=np.int64)])
