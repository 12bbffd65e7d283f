"""Initial plans: each item in its cheapest placement that fits, with a bisected load limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.problem.problem import EVERYWHERE, FREE, Problem
from embeddings.planner.search.assignment import Assignment
from embeddings.planner.search.bounds import Bound, cheapest

# Relative precision of the bisection; improvement does the rest.
_CLOSE = 1e-3
# Criteria for the hardness of items: see `_order`.
_KEYS = ("dominant", "time", "total")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """An assignment of all items, or of those that fit, and the order of placements it used."""

    assignment: Assignment
    ranking: list[list[int]]
    missing: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Preference:
    """Order of placements and items."""

    cost: FloatArray
    """[N] milliseconds of all shards plus the price of their bytes."""
    ranking: list[list[int]]
    """Each item's placements, cheapest first."""
    key: str


def pack(
    empty: Assignment,
    preference: _Preference,
    limit: float,
    *,
    tight: bool = False,
    whole: bool = True,
) -> tuple[Assignment, tuple[int, ...]] | None:
    """Place items, hardest first, each in its first placement that fits.

    Returns the assignment and the items that do not fit. With `whole`, returns None as soon as one
    does not fit.
    """
    assignment = empty.fresh()
    missing = []
    for item in _order(empty.problem, preference, limit):
        if assignment.put_first(item, preference.ranking[item], limit, tight=tight):
            continue
        if whole:
            return None
        missing.append(item)
    return assignment, tuple(missing)


def best_packing(problem: Problem, lower: Bound) -> Packed:
    """Return the packing with the lowest peak over several preferences.

    If not all items fit, returns the packing with the fewest minimum bytes left out.
    """
    empty = Assignment(problem)
    best: Packed | None = None
    peak = math.inf
    for preference in _preferences(problem, lower):
        # Bisect only if the start improves on the best one.
        for tight in (False, True):
            limit = peak * (1 - _CLOSE)
            packed = pack(empty, preference, limit, tight=tight and limit < math.inf)
            low = lower.time
            while packed is not None:
                best = Packed(assignment=packed[0], ranking=preference.ranking, missing=())
                peak, packed = packed[0].peak(), None
                while packed is None and peak - low > _CLOSE * peak:
                    middle = (low + peak) / 2
                    packed = pack(empty, preference, middle, tight=tight)
                    low = low if packed else middle
        if best and peak - lower.time <= _CLOSE * peak:
            return best
    return best or _largest_part(empty, lower)


def _largest_part(empty: Assignment, lower: Bound) -> Packed:
    problem = empty.problem
    least = np.minimum.reduceat(problem.total_memory().sum(axis=1), problem.first[:-1])
    found: list[tuple[int, int, Packed]] = []
    for preference in _preferences(problem, lower):
        packed = pack(empty, preference, math.inf, whole=False)
        assert packed is not None
        assignment, missing = packed
        left = int(least[list(missing)].sum())
        part = Packed(assignment=assignment, ranking=preference.ranking, missing=missing)
        found.append((len(missing), left, part))
    return min(found, key=lambda row: row[:2])[2]


def _preferences(problem: Problem, lower: Bound) -> Iterator[_Preference]:
    """Yield orders by price per byte, from that of the relaxed problem to a few times as much.

    Because memory is not pooled over ranks, bytes are worth more than in the relaxed problem. The
    same applies to time if one rank has a shard that cannot be split further.
    """
    memory, time = problem.total_memory(), problem.total_time(lower.weights)
    free = cheapest(problem, time)
    # Time per byte if all memory were used.
    scale = time[free].sum() / np.maximum(problem.free.sum(axis=1), 1)
    used = memory[free].sum(axis=0) > 0
    item = np.repeat(np.arange(problem.items), np.diff(problem.first))
    for dear, everywhere in ((0.0, 1.0), (0.0, 3.0), (0.1, 1.0), (1.0, 1.0), (10.0, 1.0)):
        prices = lower.prices * (1 + dear) + dear * scale * used
        cost = time * np.where(problem.layout == EVERYWHERE, everywhere, 1.0) + memory @ prices
        order = np.lexsort((cost, item))
        ranking = [part.tolist() for part in np.split(order, problem.first[1:-1])]
        for key in _KEYS:
            yield _Preference(cost=cost, ranking=ranking, key=key)


def _order(problem: Problem, preference: _Preference, limit: float) -> list[int]:
    """Sort items, hardest first: pinned, in a host group, on all ranks, on whole hosts, then by
    shard size."""
    first = cheapest(problem, preference.cost, limit)
    layout = problem.layout[first]
    stage = np.select([layout == EVERYWHERE, layout != FREE], [0, 1], 2)
    stage[[pins is not None for pins in problem.pins]] = -2
    if problem.host_group:
        stage[(np.array(problem.host_group) >= 0) & (stage > -2)] = -1
    if preference.key == "total":
        size = problem.total_time()[first]
    else:
        size = problem.time[first]
        if preference.key == "dominant":
            room = np.maximum(problem.free.max(axis=1), 1)
            share = (problem.memory[first, 0] / room).max(axis=1)
            size = np.maximum(share, size / max(float(size.max()), 1e-300))
    ordered: list[int] = np.lexsort((-size, stage)).tolist()
    return ordered
