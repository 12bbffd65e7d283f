"""The search: an initial plan, then ruin and recreate around the busiest rank."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import IntArray
from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.assignment import Assignment
from embeddings.planner.search.bounds import Bound, bound
from embeddings.planner.search.packing import Packed, best_packing
from embeddings.planner.search.repair import repair
from embeddings.planner.search.stay import stay

# The 16th powers of loads are added: ranks near the busiest count almost as much, others hardly.
_DOUBLINGS = 4
# Placements of an item tried per round, cheapest first, sometimes with a random start.
_TRIED = 6
# Items of a host that are placed again in a round.
_MOST = 16
_PATIENCE = 25
"""A search of n items ends after this times n^2 rounds without a better plan."""
_ROUNDING = 1e-9
"""By less than this a sum differs with the order of its parts: no better plan."""
CLOSE = 1e-4
"""Within this much of what no plan can beat, there is nothing left to find."""

Start = Mapping[int, tuple[int, IntArray]]
"""An earlier plan: item -> its placement, and the rank of each shard."""
NO_START: Start = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Budget of a search. `seed` and `rounds` determine the plan unless `seconds` end it first."""

    rounds: int = 20_000
    """Most rounds; few tables take fewer."""
    seconds: float = 30.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """`placements[i]` and `ranks[i]` (one per shard) of every item; `missing` if not all fit."""

    placements: tuple[int, ...]
    ranks: tuple[IntArray, ...]
    time: float
    lower_bound: float
    missing: tuple[int, ...]
    rounds: int
    cut_off: bool


def search(
    problem: Problem,
    budget: Budget,
    start: Start = NO_START,
) -> SearchResult:
    """The plan whose busiest rank carries least, as far as the budget goes.

    The result is no worse than `start` if that still fits, and of equal plans moves less of it.
    """
    deadline = time.monotonic() + budget.seconds
    lower = bound(problem)
    packed = best_packing(problem, lower)
    if packed.missing:
        packed = repair(packed, budget.seed, deadline)
    if start:
        packed = _warm(packed, start)
    rounds, cut_off = 0, False
    assignment = packed.assignment
    if not packed.missing:
        begun = assignment.peak()
        rounds, cut_off = improve(packed, lower, budget, deadline)
        placed = assignment.placements.place_of
        earlier = {item: (n, placed[ranks]) for item, (n, ranks) in start.items()}
        # No worse than the earlier plan, and equal to what was found.
        limit = max(assignment.peak(), min(begun, assignment.peak() * (1 + CLOSE)))
        stay(assignment, packed.ranking, earlier, limit, budget.seed, deadline)
    return SearchResult(
        placements=tuple(assignment.placement),
        ranks=tuple(assignment.placements.rank_of[places] for places in assignment.places),
        time=assignment.peak(),
        lower_bound=lower.time,
        missing=packed.missing,
        rounds=rounds,
        cut_off=cut_off,
    )


def improve(packed: Packed, lower: Bound, budget: Budget, deadline: float) -> tuple[int, bool]:
    """Lower the peak in place; returns the number of rounds and whether time ended them."""
    assignment, ranking = packed.assignment, packed.ranking
    draw = random.Random(budget.seed)
    goal = lower.time * (1 + CLOSE)
    peak = scale = assignment.peak()
    badness = _badness(assignment, scale)
    best, seen = peak, assignment.snapshot()
    done, cut_off = 0, False
    last, patience = 0, _PATIENCE * assignment.problem.items**2
    while done < min(budget.rounds, last + patience) and best > goal and not cut_off:
        done += 1
        cut_off = time.monotonic() > deadline
        if peak < 0.9 * scale:  # keep the powers in a range that distinguishes ranks
            scale = peak
            badness = _badness(assignment, scale)
        removed = [(item, *assignment.take(item)) for item in _victims(assignment, draw)]
        items = [item for item, _, _ in removed]
        draw.shuffle(items)
        new = math.inf
        if all(_insert(assignment, ranking, item, peak, draw) for item in items):
            new = _badness(assignment, scale)
        # Accept a lower peak even if the sum rises: three ranks just below it exceed one at it.
        lowered = new < math.inf and assignment.peak() < best
        if new <= badness or lowered:
            badness, peak = new, assignment.peak()
            if peak < best:
                last = done if peak < best * (1 - _ROUNDING) else last
                best, seen = peak, assignment.snapshot()
            continue
        for item in items:
            if assignment.placement[item] != -1:
                assignment.take(item)
        for item, placement, places in removed:
            assignment.put(item, placement, places)
    assignment.restore(seen)
    return done, cut_off


def _badness(assignment: Assignment, scale: float) -> float:
    power = assignment.load / scale
    for _ in range(_DOUBLINGS):
        power *= power
    return float(power.sum())


def _victims(assignment: Assignment, draw: random.Random) -> list[int]:
    """Choose items of the busiest rank, and a few others to exchange places with."""
    busiest = int(assignment.load.argmax())
    there = sorted(assignment.on[busiest])
    victims = set(draw.sample(there, min(len(there), draw.randint(1, 3))))
    shared = sorted(assignment.everywhere)
    if shared and (not victims or draw.random() < 0.2):
        victims.update(draw.sample(shared, min(len(shared), draw.randint(1, 3))))
    if draw.random() < 0.2:  # all of a host, so that a table can become row-wise there
        hosts = assignment.problem.hosts
        host = (busiest if draw.random() < 0.5 else draw.randrange(hosts)) % hosts
        there = sorted(set().union(*assignment.on[host::hosts]))
        victims.update(draw.sample(there, min(len(there), _MOST)))
    else:
        for _ in range(draw.randint(0, 4)):
            other = sorted(assignment.on[draw.randrange(assignment.problem.ranks)])
            if other:
                victims.add(draw.choice(other))
    if assignment.problem.host_group and draw.random() < 0.5:  # a group moves as one
        victims = {other for item in victims for other in assignment.groups.members(item)}
    return sorted(victims)


def _insert(
    assignment: Assignment, ranking: list[list[int]], item: int, peak: float, draw: random.Random
) -> bool:
    """Place an item: in its cheapest placement below the peak, else in the one that exceeds it
    least. False if it fits nowhere."""
    placements = ranking[item]
    skip = draw.randrange(len(placements)) if draw.random() < 0.1 else 0
    under = peak * (1 - 1e-9)
    tight = draw.random() < 0.5
    tried = (placements[skip:] + placements[:skip])[:_TRIED]
    if assignment.put_first(item, tried, under, tight=tight):
        return True
    least: tuple[float, int, IntArray] | None = None
    for placement in placements:
        if least is not None and assignment.placements.time[placement] > least[0]:
            continue
        places = assignment.find(item, placement, math.inf)
        if places is not None:
            rises = assignment.peak_with(placement, places)
            if least is None or rises < least[0]:
                least = (rises, placement, places)
    if least is None:
        return False
    assignment.put(item, least[1], least[2])
    return True


def _warm(packed: Packed, start: Start) -> Packed:
    """Return the earlier plan plus missing items, if complete and no worse than `packed`."""
    assignment = packed.assignment.fresh()
    problem = assignment.problem
    waiting = []
    for item in range(problem.items):
        placement, ranks = start.get(item, (-1, np.zeros(0, np.int64)))
        if placement >= 0:
            places = assignment.placements.place_of[ranks]
            if assignment.suits(item, places):
                assignment.put(item, placement, places)
                if (assignment.free[:, places] >= 0).all():
                    continue
                assignment.take(item)
        waiting.append(item)
    kept = assignment.peak()
    for item in waiting:
        ranking = packed.ranking[item]
        if not any(assignment.put_first(item, ranking, limit) for limit in (kept, math.inf)):
            return packed
    if packed.missing or assignment.peak() <= packed.assignment.peak() * (1 + CLOSE):
        return Packed(assignment=assignment, ranking=packed.ranking, missing=())
    return packed
