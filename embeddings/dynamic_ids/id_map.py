"""The map from ids to rows of a table: which ids get a row, and which lose it.

    map = IdMap(config, first_bucket, last_bucket)       # the buckets of one rank
    rows = map.admit(ids, counts)      # in training: ids may get rows and lose them
    rows = map.look_up(ids)            # in evaluation: the map does not change

An id gets a row once it was seen `min_count` times, the current batch included. Ids seen less often
are candidates: as many per bucket as it has rows, of which those not seen for longest are
forgotten. What happens in a batch depends on the set of its ids and their counts alone, not on
their order nor on the ranks that own the buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from embeddings.dynamic_ids.buckets import Buckets, Ints
from embeddings.dynamic_ids.config import DynamicConfig
from embeddings.dynamic_ids.slots import EMPTY, Placed, Slots


@dataclass(slots=True)
class Activity:
    """What happened in batches; sums of ranks and batches add up."""

    values: int = 0
    """Values seen."""
    hits: int = 0
    """Values whose id has a row of its own, new rows included."""
    admitted: int = 0
    """Ids that got a row."""
    evicted: int = 0
    """Ids that lost their row."""


class Admission(NamedTuple):
    """Result of `IdMap.admit`."""

    rows: Ints
    """The row of each id, from 0; EMPTY if it has none."""
    renewed: Ints
    """Rows, ascending, that another id had until now; their weights must begin anew."""


class IdMap:
    """The ids of consecutive buckets of a table."""

    def __init__(self, config: DynamicConfig, first: int = 0, last: int | None = None) -> None:
        """Of buckets `first` to `last` (excluded; None: all), in which no id has a row yet."""
        self.buckets = Buckets(config.rows)
        starts = self.buckets.starts(first, last)
        self.first_row = int(starts[0])
        self._first = first
        self._config = config
        self.batch = 0
        """Number of batches admitted."""
        self.slots = Slots.empty(starts)
        """Ids with rows; slot 0 is row `first_row`."""
        self.candidates = Slots.empty(starts if config.min_count > 1 else starts[:1])
        self.floors = np.zeros(len(starts) - 1, dtype=np.int64)
        """For lfu: the highest key of an id that was evicted from each bucket."""
        self.activity = Activity()

    def look_up(self, ids: Ints) -> Ints:
        """Return the row of each id; EMPTY if it has none. The ids must be of these buckets."""
        found = self.slots.find(self._bucket(ids), ids)
        return np.where(found == EMPTY, EMPTY, found + self.first_row)

    def admit(self, ids: Ints, counts: Ints) -> Admission:
        """Count the ids of a batch, and give rows to those that have come often enough.

        Args:
            ids: distinct ids of these buckets, [n], ascending, not negative. May be empty: every
                map of a table must be told of every batch.
            counts: number of times that each is in the batch, [n].
        """
        self.batch += 1
        buckets = self._bucket(ids)
        found = self.slots.find(buckets, ids)
        known = found != EMPTY
        self.slots.see(found[known], counts[known], self.batch)
        self._set_keys(found[known], buckets[known], is_new=False)
        new = np.flatnonzero(~known)
        placed = self._admit_new(ids[new], counts[new], buckets[new])
        found[new] = placed.slots
        renewed = np.sort(placed.slots[placed.evicted != EMPTY]) + self.first_row
        self._note(counts, found, placed)
        return Admission(np.where(found == EMPTY, EMPTY, found + self.first_row), renewed)

    def state(self) -> Iterator[tuple[str, Ints]]:
        """Yield the arrays that make up the state, by name, no copies: one value per slot, and
        `floors`, one per bucket. With `batch`, they are all of it."""
        for part, slots in (("", self.slots), ("candidate_", self.candidates)):
            for name in ("ids", "counts", "last", "keys"):
                yield f"{part}{name}", getattr(slots, name)
        yield "floors", self.floors

    def _admit_new(self, ids: Ints, counts: Ints, buckets: Ints) -> Placed:
        """Count ids without a row; return the slots of those that get one."""
        placed = Placed(*(np.full(len(ids), EMPTY, dtype=np.int64) for _ in range(3)))
        before = np.full(len(ids), EMPTY, dtype=np.int64)
        if self._config.min_count > 1:
            before = self.candidates.find(buckets, ids)
        is_candidate = before != EMPTY
        totals = counts.copy()
        totals[is_candidate] += self.candidates.counts[before[is_candidate]]
        ready = np.flatnonzero(totals >= self._config.min_count)
        ready = ready[np.lexsort((ids[ready], -totals[ready]))]
        into = self.slots.place(
            buckets[ready], ids[ready], totals[ready], self.batch, self.slots.last
        )
        for of_all, of_ready in zip(placed, into, strict=True):
            of_all[ready] = of_ready
        got = placed.slots != EMPTY
        if self._config.evict == "lfu":
            np.maximum.at(self.floors, buckets[got], placed.keys[got])
        self._set_keys(placed.slots[got], buckets[got], is_new=True)
        if self._config.min_count > 1:
            self.candidates.free(before[got & is_candidate])
            stay = is_candidate & ~got
            self.candidates.see(before[stay], counts[stay], self.batch)
            self.candidates.keys[before[stay]] = self.batch
            late = np.flatnonzero(~is_candidate & ~got)
            late = late[np.lexsort((ids[late], -counts[late]))]
            kept = self.candidates.place(
                buckets[late], ids[late], counts[late], self.batch, self.candidates.counts
            ).slots
            self.candidates.keys[kept[kept != EMPTY]] = self.batch
        return placed

    def _set_keys(self, slots: Ints, buckets: Ints, *, is_new: bool) -> None:
        """Set the keys of ids that were seen in this batch."""
        if self._config.evict == "lfu":
            self.slots.keys[slots] = self.slots.counts[slots] + self.floors[buckets]
        elif self._config.evict == "lru" or is_new:
            self.slots.keys[slots] = self.batch

    def _note(self, counts: Ints, found: Ints, placed: Placed) -> None:
        self.activity.values += int(counts.sum())
        self.activity.hits += int(counts[found != EMPTY].sum())
        self.activity.admitted += int((placed.slots != EMPTY).sum())
        self.activity.evicted += int((placed.evicted != EMPTY).sum())

    def _bucket(self, ids: Ints) -> Ints:
        """Return the bucket of each id, counted from this map's first."""
        return self.buckets.of(ids) - self._first
