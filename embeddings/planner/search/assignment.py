"""An assignment of items to ranks: loads of ranks, and the best ranks for an item."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.problem.problem import (
    EVERYWHERE,
    FREE,
    HOST_COLUMNS,
    HOST_ROWS,
    Problem,
)
from embeddings.planner.search.host_groups import HostGroups
from embeddings.planner.search.placements import Placements


class Assignment:
    """An assignment of some of the items to ranks.

    Internally, ranks are ordered by local rank, then host ("places"), so that consecutive places
    are on different hosts, and the places of a host are a column of `[local, hosts]`.
    """

    def __init__(self, problem: Problem, placements: Placements | None = None) -> None:
        self.problem = problem
        self.placements = placements or Placements(problem)
        self.load: FloatArray = np.zeros(problem.ranks)
        self.free: IntArray = problem.free[:, self.placements.rank_of]
        self.placement: list[int] = [-1] * problem.items
        self.places: list[IntArray] = [_NOWHERE] * problem.items
        self.on: list[set[int]] = [set() for _ in range(problem.ranks)]
        self.everywhere: set[int] = set()
        self.groups = HostGroups(problem)

    def fresh(self) -> Assignment:
        """Return an empty assignment of the same problem."""
        return Assignment(self.problem, self.placements)

    def find(
        self, item: int, placement: int, limit: float, *, tight: bool = False
    ) -> IntArray | None:
        """Find places for the shards such that no load exceeds `limit`; None if there are none.

        Uses the least loaded ranks or hosts where they fit; with `tight`, the most loaded ones,
        which keeps other ranks and whole hosts free.
        """
        if self.placements.time[placement] > limit:
            return None
        pins = self.problem.pins[item]
        if pins is not None:
            places = self._pinned(placement, pins, limit)
            return places if places is not None and self.suits(item, places) else None
        layout = self.placements.layout[placement]
        if self.groups.of(item) >= 0 and self.problem.hosts > 1:
            host = self.groups.host(item)
            if layout == HOST_ROWS:
                return self._host_rows(placement, limit, tight, host)
            return self._host_columns(placement, limit, host)
        if layout == EVERYWHERE:
            return self._everywhere(placement, limit)
        if layout == FREE:
            return self._free(placement, limit, tight)
        if layout == HOST_COLUMNS:
            return self._host_columns(placement, limit)
        return self._host_rows(placement, limit, tight)

    def suits(self, item: int, places: IntArray) -> bool:
        """Whether a rule about hosts lets the item lie there."""
        return self.groups.suits(item, places)

    def put(self, item: int, placement: int, places: IntArray) -> None:
        """Place an item."""
        assert self.placement[item] == -1
        self.placement[item] = placement
        self.places[item] = places
        self.groups.put(item, places)
        self._add(placement, places, 1)
        if self.placements.layout[placement] == EVERYWHERE:
            self.everywhere.add(item)
        else:
            for place in places.tolist():
                self.on[place].add(item)

    def put_first(
        self, item: int, placements: Iterable[int], limit: float, *, tight: bool = False
    ) -> bool:
        """Place an item in the first of `placements` that fits (see `find`); False if none does."""
        for placement in placements:
            places = self.find(item, placement, limit, tight=tight)
            if places is not None:
                self.put(item, placement, places)
                return True
        return False

    def take(self, item: int) -> tuple[int, IntArray]:
        """Remove an item; returns its placement and places, for `put`."""
        placement, places = self.placement[item], self.places[item]
        assert placement != -1
        self.placement[item] = -1
        self.places[item] = _NOWHERE
        self.groups.take(item)
        self._add(placement, places, -1)
        if self.placements.layout[placement] == EVERYWHERE:
            self.everywhere.discard(item)
        else:
            for place in places.tolist():
                self.on[place].discard(item)
        return placement, places

    def snapshot(self) -> tuple[list[int], list[IntArray]]:
        """Return placements and places of all items, for `restore`."""
        return self.placement.copy(), self.places.copy()

    def restore(self, seen: tuple[list[int], list[IntArray]]) -> None:
        """Restore all items."""
        changed = [
            item
            for item, (placement, places) in enumerate(zip(*seen, strict=True))
            if placement != self.placement[item] or places is not self.places[item]
        ]
        for item in changed:
            if self.placement[item] != -1:
                self.take(item)
        for item in changed:
            if seen[0][item] != -1:
                self.put(item, seen[0][item], seen[1][item])

    def peak(self) -> float:
        """Load of the busiest rank."""
        return float(self.load.max())

    def peak_with(self, placement: int, places: IntArray) -> float:
        """Return the maximum load of `places` with this placement's shards (one shard each)."""
        return float(self._load_for(placement)[places].max()) + self.placements.time[placement]

    def _load_for(self, placement: int) -> FloatArray:
        """Return by place the load that exceeds a limit once `time` is added, [R]."""
        slower = self.placements.slower(placement)
        return self.load if slower is None else self.load + slower

    def _time_on(self, placement: int, places: IntArray) -> FloatArray | float:
        """Return the milliseconds of a shard on each of `places`."""
        time, slower = self.placements.time[placement], self.placements.slower(placement)
        return time if slower is None else time + slower[places]

    def _add(self, placement: int, places: IntArray, sign: int) -> None:
        slower = self.placements.slower(placement)
        time: FloatArray | float = sign * self.placements.time[placement]
        if slower is not None:
            time = time + sign * slower
        if len(places) == 1:
            place = places[0]
            self.load[place] += time if isinstance(time, float) else time[place]
            self.free[:, place] -= sign * self.placements.memory[placement]
        elif self.placements.layout[placement] == EVERYWHERE:
            self.load += time
            self.free[:, places] -= sign * self.placements.needs(placement)
        else:  # a rank may have two blocks
            np.add.at(self.load, places, time if isinstance(time, float) else time[places])
            for free, needs in zip(self.free, self.placements.needs(placement), strict=True):
                np.subtract.at(free, places, sign * needs)

    def _everywhere(self, placement: int, limit: float) -> IntArray | None:
        if self._load_for(placement).max() + self.placements.time[placement] > limit:
            return None
        needs = self.placements.memory[placement]  # the first shard is the largest
        if (self.free.min(axis=1) >= needs).all():
            return self.placements.place_of
        short = (self.free[:, self.placements.place_of] < self.placements.needs(placement)).any()
        return None if short else self.placements.place_of

    def _free(self, placement: int, limit: float, tight: bool) -> IntArray | None:
        load = self._load_for(placement)
        least = int(load.argmin())
        if load[least] + self.placements.time[placement] > limit:
            return None
        if (
            not tight
            and self.placements.blocks[placement] == 1
            and (self.free[:, least] >= self.placements.memory[placement]).all()
        ):
            return np.array([least])
        return self._one_by_one(self._fitting(placement, load, limit), placement, limit, tight)

    def _fitting(self, placement: int, load: FloatArray, limit: float) -> FloatArray:
        """Return `load` where a (whole-column) shard fits, infinite elsewhere, [R]."""
        needs = self.placements.memory[placement]
        fits = (self.free >= needs[:, None]).all(axis=0) & (
            load <= limit - self.placements.time[placement]
        )
        return np.where(fits, load, math.inf)

    def _one_by_one(
        self, loads: FloatArray, placement: int, limit: float, tight: bool = False
    ) -> IntArray | None:
        """Put each block on the least (or most) loaded remaining rank; modifies `loads`.

        Ranks with infinite loads are not used.
        """
        needs, slower = self.placements.memory[placement], self.placements.slower(placement)
        least = self.placements.time[placement]
        found: list[int] = []
        for _ in range(self.placements.blocks[placement]):
            place = _pick(loads, tight)
            if place < 0:
                return None
            found.append(place)
            again = found.count(place) + 1
            time = least if slower is None else least + slower[place]
            fits = bool((self.free[:, place] >= again * needs).all())
            fits = fits and loads[place] + (time + least) <= limit
            loads[place] = loads[place] + time if fits else math.inf
        return np.array(found)

    def _host_columns(self, placement: int, limit: float, only: int = -1) -> IntArray | None:
        """`only`: the host to lie on; -1: any."""
        problem, blocks = self.problem, self.placements.blocks[placement]
        loads = self._fitting(placement, self._load_for(placement), limit)
        by_host = loads.reshape(problem.local, problem.hosts)
        # The host that is best for the last block comes first. A host that cannot take one block
        # per rank may still take two on one rank.
        nth = np.partition(by_host, min(blocks, problem.local) - 1, axis=0)
        hosts = np.argsort(nth[min(blocks, problem.local) - 1], kind="stable").tolist()
        for host in hosts if only < 0 else [only]:
            inside = np.full(problem.ranks, math.inf)
            inside[host :: problem.hosts] = by_host[:, host]
            places = self._one_by_one(inside, placement, limit)
            if places is not None:
                return places
        return None

    def _host_rows(
        self, placement: int, limit: float, tight: bool, only: int = -1
    ) -> IntArray | None:
        """`only`: the host to lie on; -1: any."""
        problem, blocks, time = (
            self.problem,
            self.placements.blocks[placement],
            self.placements.time[placement],
        )
        by_host = self._load_for(placement).reshape(problem.local, problem.hosts)
        loads = by_host.max(axis=0)
        if loads.min() + time > limit:
            return None
        rows = self.placements.rows
        column = self.placements.needs(placement)[:, : problem.local]
        if blocks == 1 and not tight and only < 0:
            host = int(loads.argmin())
            if (self.free[:, rows + host] >= column).all():
                return rows + host
        free = self.free.reshape(-1, problem.local, problem.hosts)
        fits = (free >= column[:, :, None]).all(axis=(0, 1)) & (loads <= limit - time)
        if only >= 0:
            fits &= np.arange(problem.hosts) == only
        loads = np.where(fits, loads, math.inf)
        by_host = by_host.copy()
        hosts: list[int] = []
        rounds = -(-blocks // problem.hosts)  # reuse hosts only if blocks > hosts
        for _ in range(blocks):
            host = _pick(loads, tight)
            if host < 0:
                return None
            hosts.append(host)
            again = hosts.count(host) + 1
            more = again <= rounds and bool((free[:, :, host] >= again * column).all())
            took = self._time_on(placement, rows + host)
            more = more and bool((by_host[:, host] + (took + time)).max() <= limit)
            by_host[:, host] += took
            loads[host] = by_host[:, host].max() if more else math.inf
        return np.concatenate([rows + host for host in hosts])

    def _pinned(self, placement: int, pins: tuple[int, ...], limit: float) -> IntArray | None:
        """Return the places given by a rule, if the shards fit."""
        places = self.placements.place_of[list(pins)]
        load, free = self.load.copy(), self.free.copy()
        np.add.at(load, places, self._time_on(placement, places))
        for left, needs in zip(free, self.placements.needs(placement), strict=True):
            np.subtract.at(left, places, needs)
        return places if load[places].max() <= limit and (free[:, places] >= 0).all() else None


def _pick(loads: FloatArray, tight: bool) -> int:
    """Return the least (or most) loaded with a finite load; -1 if there is none."""
    if tight:
        loads = np.where(np.isinf(loads), -math.inf, loads)
        place = int(loads.argmax())
    else:
        place = int(loads.argmin())
    return -1 if math.isinf(loads[place]) else place


_NOWHERE: IntArray = np.zeros(0, np.int64)
