"""The map of dynamic ids with a dictionary per bucket, an id at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from embeddings.dynamic_ids.buckets import Buckets
from embeddings.dynamic_ids.config import DynamicConfig


@dataclass
class Entry:
    row: int
    count: int
    last: int
    admitted: int
    key: int = 0


@dataclass
class Candidate:
    place: int
    count: int
    last: int


@dataclass
class Bucket:
    first: int
    size: int
    ids: dict[int, Entry] = field(default_factory=dict)
    candidates: dict[int, Candidate] = field(default_factory=dict)
    floor: int = 0


class Reference:
    def __init__(self, config: DynamicConfig) -> None:
        self.config = config
        self.batch = 0
        self.cut = Buckets(config.rows)
        starts = self.cut.starts().tolist()
        self.buckets = [Bucket(a, b - a) for a, b in itertools.pairwise(starts)]

    def bucket_of(self, one: int) -> Bucket:
        return self.buckets[int(self.cut.of(np.array([one]))[0])]

    def look_up(self, one: int) -> int:
        entry = self.bucket_of(one).ids.get(one)
        return -1 if entry is None else entry.row

    def admit(self, values: list[int]) -> list[int]:
        """Return the rows that another id had."""
        self.batch += 1
        found = Counter(values)
        renewed: list[int] = []
        for bucket in self.buckets:
            own = {one: n for one, n in found.items() if self.bucket_of(one) is bucket}
            renewed += self._admit(bucket, own)
        return sorted(renewed)

    def _key(self, bucket: Bucket, entry: Entry) -> int:
        return {
            "lfu": entry.count + bucket.floor,
            "lru": entry.last,
            "age": entry.admitted,
        }[self.config.evict]

    def _admit(self, bucket: Bucket, own: dict[int, int]) -> list[int]:
        ready: list[tuple[int, int]] = []
        late: list[tuple[int, int]] = []
        for one, count in own.items():
            if one in bucket.ids:
                entry = bucket.ids[one]
                entry.count += count
                entry.last = self.batch
                entry.key = self._key(bucket, entry)
                continue
            if self.config.min_count > 1 and one in bucket.candidates:
                count += bucket.candidates[one].count
            (ready if count >= self.config.min_count else late).append((-count, one))
        renewed, floor, admitted = [], bucket.floor, []
        for minus, one in sorted(ready):
            used = {entry.row for entry in bucket.ids.values()}
            free = sorted(set(range(bucket.first, bucket.first + bucket.size)) - used)
            if free:
                row = free[0]
            else:
                idle = [
                    (e.key, e.last, e.row, i) for i, e in bucket.ids.items() if e.last < self.batch
                ]
                if not idle:
                    late.append((minus, one))
                    continue
                key, _, row, loser = min(idle)
                floor = max(floor, key)
                del bucket.ids[loser]
                renewed.append(row)
            bucket.candidates.pop(one, None)
            bucket.ids[one] = Entry(row, -minus, self.batch, self.batch)
            admitted.append(one)
        bucket.floor = floor
        for one in admitted:
            bucket.ids[one].key = self._key(bucket, bucket.ids[one])
        if self.config.min_count > 1:
            self._remember(bucket, late)
        return renewed

    def _remember(self, bucket: Bucket, late: list[tuple[int, int]]) -> None:
        for minus, one in late:
            if one in bucket.candidates:
                bucket.candidates[one] = Candidate(bucket.candidates[one].place, -minus, self.batch)
        for minus, one in sorted(late):
            if one in bucket.candidates:
                continue
            used = {candidate.place for candidate in bucket.candidates.values()}
            free = sorted(set(range(bucket.size)) - used)
            if free:
                place = free[0]
            else:
                idle = [
                    (c.last, c.count, c.place, i)
                    for i, c in bucket.candidates.items()
                    if c.last < self.batch
                ]
                if not idle:
                    continue
                *_, place, loser = min(idle)
                del bucket.candidates[loser]
            bucket.candidates[one] = Candidate(place, -minus, self.batch)
