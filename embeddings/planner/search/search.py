"""The search: a first plan, then ruin and recreate where the busiest rank is."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import Ints
from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.assignment import Placement
from embeddings.planner.search.bounds import Bound, bound
from embeddings.planner.search.packing import Packed, best_packing
from embeddings.planner.search.repair import repair

# Ranks near the busiest count nearly as much as it does, idle ones hardly: 16th powers are added.
_DOUBLINGS = 4
# Ways of an item tried in a round, the cheapest first, now and then from another one on.
_TRIED = 6
# Items of a host that are placed anew in a round.
_MOST = 16
# Within this much of what no plan can beat, there is nothing left to find.
_CLOSE = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How long to look: the plan follows from `seed` and `rounds`, unless `seconds` end first."""

    rounds: int = 20_000
    seconds: float = 30.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """`ways[i]` and `ranks[i]` (a rank a shard) of every item; `missing` if not all fit."""

    ways: tuple[int, ...]
    ranks: tuple[Ints, ...]
    time: float
    lower_bound: float
    missing: tuple[int, ...]
    rounds: int
    cut_off: bool


def search(
    problem: Problem,
    budget: Budget,
    start: Mapping[int, tuple[int, Ints]] | None = None,
) -> Found:
    """The plan whose busiest rank carries least, as far as the budget goes.

    `start`: items' ways and ranks in an earlier plan; the result is no worse if they still fit.
    """
    deadline = time.monotonic() + budget.seconds
    lower = bound(problem)
    packed = best_packing(problem, lower)
    if packed.missing:
        packed = repair(packed, budget.seed, deadline)
    if start:
        packed = _warm(packed, start)
    rounds, cut_off = 0, False
    if not packed.missing:
        rounds, cut_off = improve(packed, lower, budget, deadline)
    placement = packed.placement
    return Found(
        ways=tuple(placement.way),
        ranks=tuple(placement.ways.rank_of[places] for places in placement.places),
        time=placement.peak(),
        lower_bound=lower.time,
        missing=packed.missing,
        rounds=rounds,
        cut_off=cut_off,
    )


def improve(packed: Packed, lower: Bound, budget: Budget, deadline: float) -> tuple[int, bool]:
    """Lowers the placement's peak in place; rounds done, and whether time ended them."""
    placement, ranking = packed.placement, packed.ranking
    draw = random.Random(budget.seed)
    goal = lower.time * (1 + _CLOSE)
    peak = scale = placement.peak()
    badness = _badness(placement, scale)
    best, seen = peak, placement.snapshot()
    done, cut_off = 0, False
    while done < budget.rounds and best > goal and not cut_off:
        done += 1
        cut_off = time.monotonic() > deadline
        if peak < 0.9 * scale:  # keep the powers in a range where they tell ranks apart
            scale = peak
            badness = _badness(placement, scale)
        removed = [(item, *placement.take(item)) for item in _victims(placement, draw)]
        items = [item for item, _, _ in removed]
        draw.shuffle(items)
        new = math.inf
        if all(_insert(placement, ranking, item, peak, draw) for item in items):
            new = _badness(placement, scale)
        # A lower peak counts whatever the sum says: three ranks just below it weigh more than one.
        lowered = new < math.inf and placement.peak() < best
        if new <= badness or lowered:
            badness, peak = new, placement.peak()
            if peak < best:
                best, seen = peak, placement.snapshot()
            continue
        for item in items:
            if placement.way[item] != -1:
                placement.take(item)
        for item, way, places in removed:
            placement.put(item, way, places)
    placement.restore(seen)
    return done, cut_off


def _badness(placement: Placement, scale: float) -> float:
    power = placement.load / scale
    for _ in range(_DOUBLINGS):
        power *= power
    return float(power.sum())


def _victims(placement: Placement, draw: random.Random) -> list[int]:
    """Something of the busiest rank, and a few others to trade places with."""
    busiest = int(placement.load.argmax())
    there = sorted(placement.on[busiest])
    victims = set(draw.sample(there, min(len(there), draw.randint(1, 3))))
    shared = sorted(placement.everywhere)
    if shared and (not victims or draw.random() < 0.2):
        victims.update(draw.sample(shared, min(len(shared), draw.randint(1, 3))))
    if draw.random() < 0.2:  # all of a host, where a table may then lie row-wise
        hosts = placement.problem.hosts
        host = (busiest if draw.random() < 0.5 else draw.randrange(hosts)) % hosts
        there = sorted(set().union(*placement.on[host::hosts]))
        victims.update(draw.sample(there, min(len(there), _MOST)))
    else:
        for _ in range(draw.randint(0, 4)):
            other = sorted(placement.on[draw.randrange(placement.problem.ranks)])
            if other:
                victims.add(draw.choice(other))
    return sorted(victims)


def _insert(
    placement: Placement, ranking: list[list[int]], item: int, peak: float, draw: random.Random
) -> bool:
    """The cheapest way that stays under the peak; else the one that rises least above it."""
    ways = ranking[item]
    skip = draw.randrange(len(ways)) if draw.random() < 0.1 else 0
    under = peak * (1 - 1e-9)
    tight = draw.random() < 0.5
    for way in (ways[skip:] + ways[:skip])[:_TRIED]:
        places = placement.find(item, way, under, tight=tight)
        if places is not None:
            placement.put(item, way, places)
            return True
    least: tuple[float, int, Ints] | None = None
    for way in ways:
        if least is not None and placement.ways.time[way] > least[0]:
            continue
        places = placement.find(item, way, math.inf)
        if places is not None:
            rises = placement.peak_with(way, places)
            if least is None or rises < least[0]:
                least = (rises, way, places)
    if least is None:
        return False
    placement.put(item, least[1], least[2])
    return True


def _warm(packed: Packed, start: Mapping[int, tuple[int, Ints]]) -> Packed:
    """The earlier plan with what it lacks added, if that is whole and no worse than `packed`."""
    placement = packed.placement.fresh()
    problem = placement.problem
    waiting = []
    for item in range(problem.items):
        way, ranks = start.get(item, (-1, np.zeros(0, np.int64)))
        if way >= 0:
            places = placement.ways.place_of[ranks]
            placement.put(item, way, places)
            if (placement.free[:, places] >= 0).all():
                continue
            placement.take(item)
        waiting.append(item)
    for item in waiting:
        for way in packed.ranking[item]:
            found = placement.find(item, way, math.inf)
            if found is not None:
                placement.put(item, way, found)
                break
        else:
            return packed
    if packed.missing or placement.peak() <= packed.placement.peak():
        return Packed(placement=placement, ranking=packed.ranking, missing=())
    return packed
