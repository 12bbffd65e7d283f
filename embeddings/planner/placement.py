"""Items on ranks: what each rank carries, and where the next item fits best."""

from __future__ import annotations

import math

import numpy as np

from embeddings.planner.options import Floats, Ints
from embeddings.planner.problem import EVERYWHERE, FREE, HOST_COLUMNS, Problem


class Placement:
    """A part of the items on ranks; the rest is not placed.

    Inside, ranks are numbered host by host within each local rank, so that the first of equals lies
    on another host than the last one, and a host's ranks are a column of `[local, hosts]`.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        order = np.arange(problem.ranks).reshape(problem.hosts, problem.local).T.reshape(-1)
        self.rank_of: Ints = order
        self.place_of: Ints = np.argsort(order)
        self.load: Floats = np.zeros(problem.ranks)
        self.free: Ints = problem.free[:, order].copy()
        self.way: list[int] = [-1] * problem.items
        self.places: list[Ints] = [_NOWHERE] * problem.items
        self.on: list[set[int]] = [set() for _ in range(problem.ranks)]
        self.everywhere: set[int] = set()
        # Python's own numbers: the loops below read them one by one.
        self._layout = problem.layout.tolist()
        self._blocks = problem.blocks.tolist()
        self._counts = problem.counts.tolist()
        self._time = problem.time.tolist()
        self._memory = problem.memory.tolist()

    def find(self, item: int, way: int, limit: float) -> Ints | None:
        """Where the shards would go, none of whose ranks then carries more than `limit`; or None.

        The least loaded ranks or hosts with enough memory.
        """
        pins = self.problem.pins[item]
        if pins is not None:
            return self._pinned(way, pins, limit)
        layout = self._layout[way]
        if layout == EVERYWHERE:
            return self._everywhere(way, limit)
        if layout == FREE:
            return self._free(way, limit)
        if layout == HOST_COLUMNS:
            return self._host_columns(way, limit)
        return self._host_rows(way, limit)

    def put(self, item: int, way: int, places: Ints) -> None:
        """Place an item that is not placed."""
        assert self.way[item] == -1
        self.way[item] = way
        self.places[item] = places
        self._add(way, places, 1)
        if self._layout[way] == EVERYWHERE:
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
        if self._layout[way] == EVERYWHERE:
            self.everywhere.discard(item)
        else:
            for place in places.tolist():
                self.on[place].discard(item)
        return way, places

    def peak(self) -> float:
        """What the busiest rank carries."""
        return float(self.load.max())

    def peak_with(self, way: int, places: Ints) -> float:
        """What the busiest of `places` would carry with this way's shards (a shard each)."""
        return float(self.load[places].max()) + self._time[way]

    def needs(self, way: int) -> Ints:
        """[2, S] bytes of every shard of a way, in order."""
        return np.tile(self._column(way), self._blocks[way])

    def _column(self, way: int) -> Ints:
        """[2, S] bytes of the shards of one column block."""
        counts, memory = self._counts[way], self._memory[way]
        if counts[0] == 1 and counts[1] == 0:
            return np.array(memory[0], np.int64)[:, None]
        return np.repeat(np.array(memory, np.int64).T, counts, axis=1)

    def _add(self, way: int, places: Ints, sign: int) -> None:
        needs = self.needs(way)
        time = sign * self._time[way]
        if self._layout[way] in (FREE, HOST_COLUMNS):  # a rank may carry two blocks
            for shard, place in enumerate(places.tolist()):
                self.load[place] += time
                self.free[:, place] -= sign * needs[:, shard]
            return
        if len(set(places.tolist())) == len(places):
            self.load[places] += time
            self.free[:, places] -= sign * needs
        else:
            np.add.at(self.load, places, time)
            np.subtract.at(self.free, (slice(None), places), sign * needs)

    def _fitting(self, way: int, limit: float) -> Floats:
        """[R] loads of the ranks where a (whole-column) shard fits, infinite elsewhere."""
        hbm, ddr = self._memory[way][0]
        fits = (self.free[0] >= hbm) & (self.free[1] >= ddr)
        if limit < math.inf:
            fits &= self.load <= limit - self._time[way]
        return np.where(fits, self.load, np.inf)

    def _everywhere(self, way: int, limit: float) -> Ints | None:
        if self.load.max() + self._time[way] > limit:
            return None
        needs = self._column(way)
        if (self.free[:, self.place_of] < needs).any():
            return None
        return self.place_of

    def _free(self, way: int, limit: float) -> Ints | None:
        loads = self._fitting(way, limit)
        return self._one_by_one(loads, self._blocks[way], way, limit)

    def _one_by_one(self, loads: Floats, blocks: int, way: int, limit: float) -> Ints | None:
        """Each block on the least loaded rank left; `loads` is used up."""
        if blocks == 1:
            place = int(loads.argmin())
            return np.array([place]) if loads[place] < math.inf else None
        hbm, ddr = self._memory[way][0]
        time = self._time[way]
        found: list[int] = []
        for _ in range(blocks):
            place = int(loads.argmin())
            if loads[place] == math.inf:
                return None
            found.append(place)
            again = found.count(place) + 1
            fits = self.free[0, place] >= again * hbm and self.free[1, place] >= again * ddr
            fits = fits and loads[place] + 2 * time <= limit
            loads[place] = loads[place] + time if fits else math.inf
        return np.array(found)

    def _host_columns(self, way: int, limit: float) -> Ints | None:
        problem, blocks = self.problem, self._blocks[way]
        loads = self._fitting(way, limit).reshape(problem.local, problem.hosts)
        if blocks <= problem.local:
            nth = np.partition(loads, blocks - 1, axis=0)[blocks - 1]
            hosts = [int(nth.argmin())]
            if nth[hosts[0]] == math.inf:  # two blocks to a rank, perhaps
                hosts = np.argsort(np.where(np.isinf(loads), 0, loads).sum(axis=0)).tolist()
        else:
            hosts = np.argsort(np.where(np.isinf(loads), 0, loads).sum(axis=0)).tolist()
        for host in hosts:
            inside = self._one_by_one_at(loads[:, host].copy(), host, blocks, way, limit)
            if inside is not None:
                return inside
        return None

    def _one_by_one_at(
        self, loads: Floats, host: int, blocks: int, way: int, limit: float
    ) -> Ints | None:
        """As `_one_by_one`, within a host."""
        everywhere = np.full(self.problem.ranks, math.inf)
        everywhere[host :: self.problem.hosts] = loads
        return self._one_by_one(everywhere, blocks, way, limit)

    def _host_rows(self, way: int, limit: float) -> Ints | None:
        problem, blocks, time = self.problem, self._blocks[way], self._time[way]
        column = self._column(way)
        free = self.free.reshape(2, problem.local, problem.hosts)
        fits = (free >= column[:, :, None]).all(axis=(0, 1))
        loads = self.load.reshape(problem.local, problem.hosts).max(axis=0)
        if limit < math.inf:
            fits &= loads <= limit - time
        loads = np.where(fits, loads, math.inf)
        rows = np.arange(problem.local) * problem.hosts
        if blocks == 1:
            host = int(loads.argmin())
            return rows + host if loads[host] < math.inf else None
        hosts: list[int] = []
        rounds = -(-blocks // problem.hosts)  # a host twice only if there are fewer than blocks
        for _ in range(blocks):
            host = int(loads.argmin())
            if loads[host] == math.inf:
                return None
            hosts.append(host)
            again = hosts.count(host) + 1
            more = again <= rounds and bool((free[:, :, host] >= again * column).all())
            more = more and loads[host] + 2 * time <= limit
            loads[host] = loads[host] + time if more else math.inf
        return np.concatenate([rows + host for host in hosts])

    def _pinned(self, way: int, pins: tuple[int, ...], limit: float) -> Ints | None:
        """The places a rule names, if they have room."""
        places = self.place_of[list(pins)]
        load, free = self.load.copy(), self.free.copy()
        np.add.at(load, places, self._time[way])
        np.subtract.at(free, (slice(None), places), self.needs(way))
        return places if load[places].max() <= limit and (free[:, places] >= 0).all() else None


_NOWHERE: Ints = np.zeros(0, np.int64)
