"""First plans: every item in its cheapest way that fits, under a limit that is halved in on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import Floats
from embeddings.planner.problem.problem import EVERYWHERE, FREE, Problem
from embeddings.planner.search.assignment import Placement
from embeddings.planner.search.bounds import Bound, cheapest

# Finer than this, the halving stops: improvement does the rest.
_CLOSE = 1e-3
# By what an item is harder to place than another: see `_order`.
_KEYS = ("dominant", "time", "total")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A placement of all items, or of as many as went, and the ways' order it came from."""

    placement: Placement
    ranking: list[list[int]]
    missing: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Taste:
    """What makes a way cheap, and an item hard."""

    cost: Floats
    """[N] milliseconds of all shards, and what their bytes are worth."""
    ranking: list[list[int]]
    """Each item's ways, the cheapest first."""
    key: str


def pack(
    empty: Placement, taste: _Taste, limit: float, *, tight: bool = False, whole: bool = True
) -> tuple[Placement, tuple[int, ...]] | None:
    """Items, the hardest first, each in its first way that fits; and those that fit in no way.

    None as soon as one does not fit, if it has to be `whole`.
    """
    placement = empty.fresh()
    missing = []
    for item in _order(empty.problem, taste, limit):
        for way in taste.ranking[item]:
            places = placement.find(item, way, limit, tight=tight)
            if places is not None:
                placement.put(item, way, places)
                break
        else:
            if whole:
                return None
            missing.append(item)
    return placement, tuple(missing)


def best_packing(problem: Problem, lower: Bound) -> Packed:
    """The lowest peak over several tastes.

    If nothing fits whole: the packing that leaves least of the items' least bytes out.
    """
    empty = Placement(problem)
    best: Packed | None = None
    peak = math.inf
    for taste in _tastes(problem, lower):
        # Only a start that beats the best one is worth a halving.
        for tight in (False, True):
            limit = peak * (1 - _CLOSE)
            packed = pack(empty, taste, limit, tight=tight and limit < math.inf)
            low = lower.time
            while packed is not None:
                best = Packed(placement=packed[0], ranking=taste.ranking, missing=())
                peak, packed = packed[0].peak(), None
                while packed is None and peak - low > _CLOSE * peak:
                    middle = (low + peak) / 2
                    packed = pack(empty, taste, middle, tight=tight)
                    low = low if packed else middle
        if best and peak - lower.time <= _CLOSE * peak:
            return best
    return best or _largest_part(empty, lower)


def _largest_part(empty: Placement, lower: Bound) -> Packed:
    problem = empty.problem
    least = np.minimum.reduceat(problem.total_memory().sum(axis=1), problem.first[:-1])
    found: list[tuple[int, int, Packed]] = []
    for taste in _tastes(problem, lower):
        packed = pack(empty, taste, math.inf, whole=False)
        assert packed is not None
        placement, missing = packed
        left = int(least[list(missing)].sum())
        part = Packed(placement=placement, ranking=taste.ranking, missing=missing)
        found.append((len(missing), left, part))
    return min(found, key=lambda row: row[:2])[2]


def _tastes(problem: Problem, lower: Bound) -> Iterator[_Taste]:
    """From what bytes are worth if shards flowed like water to a few times that.

    A rank's memory is not one pool with the next one's, so that bytes are worth more in truth. So
    is time on all ranks, if one rank carries a shard that cannot be made smaller.
    """
    memory, time = problem.total_memory(), problem.total_time()
    free = cheapest(problem, time)
    # Time a byte, if all memory were in use.
    scale = time[free].sum() / np.maximum(problem.free.sum(axis=1), 1)
    used = memory[free].sum(axis=0) > 0
    item = np.repeat(np.arange(problem.items), np.diff(problem.first))
    for dear, everywhere in ((0.0, 1.0), (0.0, 3.0), (0.1, 1.0), (1.0, 1.0), (10.0, 1.0)):
        prices = lower.prices * (1 + dear) + dear * scale * used
        cost = time * np.where(problem.layout == EVERYWHERE, everywhere, 1.0) + memory @ prices
        order = np.lexsort((cost, item))
        ranking = [part.tolist() for part in np.split(order, problem.first[1:-1])]
        for key in _KEYS:
            yield _Taste(cost=cost, ranking=ranking, key=key)


def _order(problem: Problem, taste: _Taste, limit: float) -> list[int]:
    """Items the hardest first: pinned, on all ranks, on whole hosts; then by size of a shard."""
    first = cheapest(problem, taste.cost, limit)
    layout = problem.layout[first]
    stage = np.select([layout == EVERYWHERE, layout != FREE], [0, 1], 2)
    stage[[pins is not None for pins in problem.pins]] = -1
    if taste.key == "total":
        size = problem.total_time()[first]
    else:
        size = problem.time[first]
        if taste.key == "dominant":
            room = np.maximum(problem.free.max(axis=1), 1)
            share = (problem.memory[first, 0] / room).max(axis=1)
            size = np.maximum(share, size / max(float(size.max()), 1e-300))
    ordered: list[int] = np.lexsort((-size, stage)).tolist()
    return ordered
