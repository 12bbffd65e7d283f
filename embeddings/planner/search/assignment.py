"""Items on ranks: what each rank carries, and where the next item fits best."""

from __future__ import annotations

import math

import numpy as np

from embeddings.planner.inputs.arrays import Floats, Ints
from embeddings.planner.problem.problem import EVERYWHERE, FREE, HOST_COLUMNS, Problem
from embeddings.planner.search.placements import Ways


class Placement:
    """A part of the items on ranks; the rest is not placed.

    Inside, a rank has a place: host by host within each local rank, so that the first of equals
    lies on another host than the next one, and a host's places are a column of `[local, hosts]`.
    """

    def __init__(self, problem: Problem, ways: Ways | None = None) -> None:
        self.problem = problem
        self.ways = ways or Ways(problem)
        self.load: Floats = np.zeros(problem.ranks)
        self.free: Ints = problem.free[:, self.ways.rank_of]
        self.way: list[int] = [-1] * problem.items
        self.places: list[Ints] = [_NOWHERE] * problem.items
        self.on: list[set[int]] = [set() for _ in range(problem.ranks)]
        self.everywhere: set[int] = set()

    def fresh(self) -> Placement:
        """An empty one of the same problem."""
        return Placement(self.problem, self.ways)

    def find(self, item: int, way: int, limit: float, *, tight: bool = False) -> Ints | None:
        """Where the shards would go, none of whose ranks then carries more than `limit`; or None.

        The least loaded ranks or hosts where they fit; `tight`: the most loaded ones, which leaves
        others, and whole hosts, free for what needs them.
        """
        if self.ways.time[way] > limit:
            return None
        pins = self.problem.pins[item]
        if pins is not None:
            return self._pinned(way, pins, limit)
        layout = self.ways.layout[way]
        if layout == EVERYWHERE:
            return self._everywhere(way, limit)
        if layout == FREE:
            return self._free(way, limit, tight)
        if layout == HOST_COLUMNS:
            return self._host_columns(way, limit)
        return self._host_rows(way, limit, tight)

    def put(self, item: int, way: int, places: Ints) -> None:
        """Place an item that is not placed."""
        assert self.way[item] == -1
        self.way[item] = way
        self.places[item] = places
        self._add(way, places, 1)
        if self.ways.layout[way] == EVERYWHERE:
            self.everywhere.add(item)
        else:
            for place in places.tolist():
                self.on[place].add(item)

    def take(self, item: int) -> tuple[int, Ints]:
        """Remove an item; its way and places, for `put`."""
        way, places = self.way[item], self.places[item]
        assert way != -1
        self.way[item] = -1
        self.places[item] = _NOWHERE
        self._add(way, places, -1)
        if self.ways.layout[way] == EVERYWHERE:
            self.everywhere.discard(item)
        else:
            for place in places.tolist():
                self.on[place].discard(item)
        return way, places

    def snapshot(self) -> tuple[list[int], list[Ints]]:
        """Ways and places of all items, for `restore`."""
        return self.way.copy(), self.places.copy()

    def restore(self, seen: tuple[list[int], list[Ints]]) -> None:
        """All items as they were."""
        changed = [
            item
            for item, (way, places) in enumerate(zip(*seen, strict=True))
            if way != self.way[item] or places is not self.places[item]
        ]
        for item in changed:
            if self.way[item] != -1:
                self.take(item)
        for item in changed:
            if seen[0][item] != -1:
                self.put(item, seen[0][item], seen[1][item])

    def peak(self) -> float:
        """What the busiest rank carries."""
        return float(self.load.max())

    def peak_with(self, way: int, places: Ints) -> float:
        """What the busiest of `places` would carry with this way's shards (a shard each)."""
        return float(self.load[places].max()) + self.ways.time[way]

    def _add(self, way: int, places: Ints, sign: int) -> None:
        time = sign * self.ways.time[way]
        if len(places) == 1:
            place = places[0]
            hbm, ddr = self.ways.memory[way]
            self.load[place] += time
            self.free[0, place] -= sign * hbm
            self.free[1, place] -= sign * ddr
        elif self.ways.layout[way] == EVERYWHERE:
            self.load += time
            self.free[:, places] -= sign * self.ways.needs(way)
        else:  # a rank may carry two blocks
            np.add.at(self.load, places, time)
            for free, needs in zip(self.free, self.ways.needs(way), strict=True):
                np.subtract.at(free, places, sign * needs)

    def _everywhere(self, way: int, limit: float) -> Ints | None:
        if self.load.max() + self.ways.time[way] > limit:
            return None
        hbm, ddr = self.ways.memory[way]  # no shard is larger than the first
        if self.free[0].min() >= hbm and self.free[1].min() >= ddr:
            return self.ways.place_of
        short = (self.free[:, self.ways.place_of] < self.ways.needs(way)).any()
        return None if short else self.ways.place_of

    def _free(self, way: int, limit: float, tight: bool) -> Ints | None:
        least = int(self.load.argmin())
        if self.load[least] + self.ways.time[way] > limit:
            return None
        if not tight and self.ways.blocks[way] == 1 and self._has_room(way, least):
            return np.array([least])
        return self._one_by_one(self._fitting(way, limit), way, limit, tight)

    def _has_room(self, way: int, place: int) -> bool:
        hbm, ddr = self.ways.memory[way]
        return bool(self.free[0, place] >= hbm and self.free[1, place] >= ddr)

    def _fitting(self, way: int, limit: float) -> Floats:
        """[R] loads of the ranks where a (whole-column) shard fits, infinite elsewhere."""
        hbm, ddr = self.ways.memory[way]
        fits = (
            (self.free[0] >= hbm)
            & (self.free[1] >= ddr)
            & (self.load <= limit - self.ways.time[way])
        )
        return np.where(fits, self.load, math.inf)

    def _one_by_one(
        self, loads: Floats, way: int, limit: float, tight: bool = False
    ) -> Ints | None:
        """Each block on the least (or most) loaded rank left; `loads` is used up.

        Ranks with infinite loads are not to be had.
        """
        hbm, ddr = self.ways.memory[way]
        time = self.ways.time[way]
        found: list[int] = []
        for _ in range(self.ways.blocks[way]):
            place = _pick(loads, tight)
            if place < 0:
                return None
            found.append(place)
            again = found.count(place) + 1
            fits = self.free[0, place] >= again * hbm and self.free[1, place] >= again * ddr
            fits = fits and loads[place] + 2 * time <= limit
            loads[place] = loads[place] + time if fits else math.inf
        return np.array(found)

    def _host_columns(self, way: int, limit: float) -> Ints | None:
        problem, blocks = self.problem, self.ways.blocks[way]
        loads = self._fitting(way, limit)
        by_host = loads.reshape(problem.local, problem.hosts)
        # The host whose last block would lie best comes first; a host too full for a block a rank
        # may still take two on one.
        nth = np.partition(by_host, min(blocks, problem.local) - 1, axis=0)
        for host in np.argsort(nth[min(blocks, problem.local) - 1], kind="stable").tolist():
            inside = np.full(problem.ranks, math.inf)
            inside[host :: problem.hosts] = by_host[:, host]
            places = self._one_by_one(inside, way, limit)
            if places is not None:
                return places
        return None

    def _host_rows(self, way: int, limit: float, tight: bool) -> Ints | None:
        problem, blocks, time = self.problem, self.ways.blocks[way], self.ways.time[way]
        loads = self.load.reshape(problem.local, problem.hosts).max(axis=0)
        if loads.min() + time > limit:
            return None
        rows = self.ways.rows
        column = self.ways.needs(way)[:, : problem.local]
        if blocks == 1 and not tight:
            host = int(loads.argmin())
            if (self.free[:, rows + host] >= column).all():
                return rows + host
        free = self.free.reshape(2, problem.local, problem.hosts)
        fits = (free >= column[:, :, None]).all(axis=(0, 1)) & (loads <= limit - time)
        loads = np.where(fits, loads, math.inf)
        hosts: list[int] = []
        rounds = -(-blocks // problem.hosts)  # a host twice only if there are fewer than blocks
        for _ in range(blocks):
            host = _pick(loads, tight)
            if host < 0:
                return None
            hosts.append(host)
            again = hosts.count(host) + 1
            more = again <= rounds and bool((free[:, :, host] >= again * column).all())
            more = more and loads[host] + 2 * time <= limit
            loads[host] = loads[host] + time if more else math.inf
        return np.concatenate([rows + host for host in hosts])

    def _pinned(self, way: int, pins: tuple[int, ...], limit: float) -> Ints | None:
        """The places a rule names, if they have room."""
        places = self.ways.place_of[list(pins)]
        load, free = self.load.copy(), self.free.copy()
        np.add.at(load, places, self.ways.time[way])
        for left, needs in zip(free, self.ways.needs(way), strict=True):
            np.subtract.at(left, places, needs)
        return places if load[places].max() <= limit and (free[:, places] >= 0).all() else None


def _pick(loads: Floats, tight: bool) -> int:
    """The least (or most) loaded of those with a finite load; -1 if there is none."""
    if tight:
        loads = np.where(np.isinf(loads), -math.inf, loads)
        place = int(loads.argmax())
    else:
        place = int(loads.argmin())
    return -1 if math.isinf(loads[place]) else place


_NOWHERE: Ints = np.zeros(0, np.int64)
