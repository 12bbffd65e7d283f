"""Slots for ids, in sets as in the cache of a processor: an id is in its bucket or nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embeddings.dynamic_ids.buckets import WIDTH, Ints

EMPTY = -1
"""The id of a free slot; ids are not negative."""
_NEVER = np.iinfo(np.int64).max


class Placed(NamedTuple):
    """Result of `Slots.place`."""

    slots: Ints
    """The slot of each id; EMPTY if its bucket has no slot left."""
    evicted: Ints
    """The id that had the slot before; EMPTY if it was free."""
    keys: Ints
    """The key of that id."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Ids of consecutive buckets, and how they were used. All arrays have one value per slot."""

    starts: Ints
    """First slot of each bucket, and the slot after the last one's."""
    ids: Ints
    counts: Ints
    """How often each id was seen."""
    last: Ints
    """The batch in which each id was seen last."""
    keys: Ints
    """The id with the lowest key of a bucket is evicted; EMPTY for free slots."""

    @staticmethod
    def empty(starts: Ints) -> Slots:
        """Return free slots; `starts` may begin at any row."""
        count = int(starts[-1] - starts[0])
        free = [np.full(count, EMPTY, dtype=np.int64) for _ in range(4)]
        return Slots(starts - starts[0], *free)

    def find(self, buckets: Ints, ids: Ints) -> Ints:
        """Return the slot of each id, [n]; EMPTY if it has none."""
        slots = self._of(buckets)
        match = self.ids[slots] == ids[:, None]
        found = slots[np.arange(len(ids)), match.argmax(1)]
        return np.where(match.any(1), found, EMPTY)

    def see(self, slots: Ints, counts: Ints, batch: int) -> None:
        """Count ids that are in `slots`."""
        self.counts[slots] += counts
        self.last[slots] = batch

    def place(self, buckets: Ints, ids: Ints, counts: Ints, batch: int, ties: Ints) -> Placed:
        """Put ids that have no slot into one: a free one, or else that of the lowest key, then the
        lowest `ties`, but of no id that was seen in this batch.

        Earlier ids go first. The caller sets their keys: until then, they have key 0.
        """
        found = Placed(*(np.full(len(ids), EMPTY, dtype=np.int64) for _ in range(3)))
        turns = _turns(buckets)
        for turn in range(min(WIDTH, int(turns.max(initial=-1)) + 1)):
            now = np.flatnonzero(turns == turn)  # one id a bucket
            slots = self._of(buckets[now])
            keys = np.where(self.last[slots] == batch, _NEVER, self.keys[slots])
            lowest = keys.min(1)
            place = np.where(keys == lowest[:, None], ties[slots], _NEVER).argmin(1)
            is_room = lowest < _NEVER
            taken, now = slots[np.arange(len(now)), place][is_room], now[is_room]
            found.slots[now] = taken
            found.evicted[now] = self.ids[taken]
            found.keys[now] = self.keys[taken]
            self.ids[taken] = ids[now]
            self.counts[taken] = counts[now]
            self.last[taken] = batch
            self.keys[taken] = 0
        return found

    def free(self, slots: Ints) -> None:
        """Remove the ids in `slots`."""
        for values in (self.ids, self.counts, self.last, self.keys):
            values[slots] = EMPTY

    def _of(self, buckets: Ints) -> Ints:
        """Return the slots of each bucket, [n, WIDTH]; shorter buckets repeat their last slot."""
        slots = self.starts[buckets][:, None] + np.arange(WIDTH)
        return np.minimum(slots, self.starts[buckets + 1][:, None] - 1)


def _turns(buckets: Ints) -> NDArray[np.int64]:
    """Return how many earlier ids have the same bucket, for each."""
    order = np.argsort(buckets, kind="stable")
    ordered = buckets[order]
    first = np.searchsorted(ordered, ordered)
    turns = np.empty(len(buckets), dtype=np.int64)
    turns[order] = np.arange(len(buckets)) - first
    return turns
