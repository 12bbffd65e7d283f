"""First plans: every item in its cheapest way that fits, under a limit that is halved in on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.planner.bounds import Bound, cheapest
from embeddings.planner.options import Floats, Ints
from embeddings.planner.placement import Placement
from embeddings.planner.problem import EVERYWHERE, FREE, Problem

# Finer than this, the halving stops: improvement does the rest.
_CLOSE = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A placement of all items, or of as many as went, and the ways' order it came from."""

    placement: Placement
    ranking: list[list[int]]
    missing: tuple[int, ...]


def rank_ways(problem: Problem, prices: Floats) -> list[list[int]]:
    """Each item's ways, the cheapest first: time of all its shards, and their bytes' price."""
    cost = problem.total_time() + problem.total_memory() @ prices
    item = np.repeat(np.arange(problem.items), np.diff(problem.first))
    order = np.lexsort((cost, item))
    return [part.tolist() for part in np.split(order, problem.first[1:-1])]


def pack(
    empty: Placement,
    ranking: list[list[int]],
    order: Sequence[int],
    limit: float,
    *,
    whole: bool = True,
) -> tuple[Placement, tuple[int, ...]] | None:
    """Items in `order`, each in its first way that fits; with them, those that fit in no way.

    None as soon as one does not fit, if it has to be `whole`.
    """
    placement = empty.fresh()
    missing = []
    for item in order:
        for way in ranking[item]:
            places = placement.find(item, way, limit)
            if places is not None:
                placement.put(item, way, places)
                break
        else:
            if whole:
                return None
            missing.append(item)
    return placement, tuple(missing)


def best_packing(problem: Problem, lower: Bound) -> Packed:
    """The lowest peak over several prices of memory and orders of items.

    If nothing fits whole: the packing that leaves least of the items' least bytes out.
    """
    empty = Placement(problem)
    best: Packed | None = None
    peak = math.inf
    for prices in _price_list(problem, lower):
        ranking = rank_ways(problem, prices)
        for order in _orders(problem, [ways[0] for ways in ranking]):
            # Only a start that beats the best one is worth a halving.
            limit = peak * (1 - _CLOSE) if best else math.inf
            packed = pack(empty, ranking, order, limit)
            low = lower.time
            while packed is not None:
                best = Packed(placement=packed[0], ranking=ranking, missing=())
                peak = packed[0].peak()
                while peak - low > _CLOSE * peak:
                    middle = (low + peak) / 2
                    packed = pack(empty, ranking, order, middle)
                    if packed is not None:
                        break
                    low = middle
                else:
                    break
            if peak - lower.time <= _CLOSE * peak:
                assert best is not None
                return best
    return best or _largest_part(empty, lower)


def _largest_part(empty: Placement, lower: Bound) -> Packed:
    problem = empty.problem
    least = np.minimum.reduceat(problem.total_memory().sum(axis=1), problem.first[:-1])
    found: list[tuple[int, Packed]] = []
    for prices in _price_list(problem, lower):
        ranking = rank_ways(problem, prices)
        for order in _orders(problem, [ways[0] for ways in ranking]):
            packed = pack(empty, ranking, order, math.inf, whole=False)
            assert packed is not None
            left = int(least[list(packed[1])].sum())
            found.append((left, Packed(placement=packed[0], ranking=ranking, missing=packed[1])))
    return min(found, key=lambda pair: (len(pair[1].missing) > 0, pair[0]))[1]


def _price_list(problem: Problem, lower: Bound) -> Iterator[Floats]:
    """From what bytes are worth if shards flowed like water to a few times that.

    A rank's memory is not one pool with the next one's, so that bytes are worth more in truth.
    """
    yield lower.prices
    memory, time = problem.total_memory(), problem.total_time()
    free = cheapest(problem, time)
    # Time a byte, if all memory were in use.
    scale = time[free].sum() / np.maximum(problem.free.sum(axis=1), 1)
    used = memory[free].sum(axis=0) > 0
    for factor in (0.1, 1.0, 10.0):
        yield lower.prices * (1 + factor) + factor * scale * used


def _orders(problem: Problem, ways: list[int]) -> Iterator[list[int]]:
    """Items the hardest first: those on all ranks, on whole hosts, then by size of a shard."""
    first: Ints = np.array(ways)
    layout = problem.layout[first]
    stage = np.select([layout == EVERYWHERE, layout != FREE], [0, 1], 2)
    pinned = np.array([pins is None for pins in problem.pins])
    time = problem.time[first]
    room = np.maximum(problem.free.max(axis=1), 1)
    share = (problem.memory[first, 0] / room).max(axis=1)
    spread = problem.total_time()[first]
    dominant = np.maximum(share, time / max(float(time.max()), 1e-300))
    for key in (dominant, time, spread):
        yield np.lexsort((-key, stage, pinned)).tolist()
