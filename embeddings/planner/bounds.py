"""What no plan can beat, and what a byte is worth: the problem with shards that flow like water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.planner.options import Floats, Ints
from embeddings.planner.problem import Problem

_ROUNDS = 3
_HALVINGS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """`time`: milliseconds; no plan's busiest rank carries less. `prices`: [2] ms a byte."""

    time: float
    prices: Floats


def bound(problem: Problem) -> Bound:
    """Lagrange's bound: memory, of all ranks together, is paid for instead of kept.

    With prices l >= 0 a byte, the ranks together carry at least the sum over items of the cheapest
    way's time + l * bytes, less l * (all memory). Prices are those that just make the cheapest ways
    fit, found by halving, one memory after the other.
    """
    time, memory = problem.total_time(), problem.total_memory()
    room = np.maximum(problem.free, 0).sum(axis=1).astype(np.float64)
    prices = np.zeros(2)
    best = 0.0
    for _ in range(_ROUNDS):
        for kind in range(2):
            best = max(best, _halve(problem, time, memory, room, prices, kind))
    single = np.minimum.reduceat(problem.time, problem.first[:-1]).max()
    return Bound(time=max(best / problem.ranks, float(single)), prices=prices)


def _halve(
    problem: Problem, time: Floats, memory: Ints, room: Floats, prices: Floats, kind: int
) -> float:
    """Sets the lowest price at which one memory suffices; the best bound on the way."""
    low, high = 0.0, 0.0
    best = 0.0

    def spare(price: float) -> float:
        nonlocal best
        prices[kind] = price
        cost = time + memory @ prices
        chosen = cheapest(problem, cost)
        best = max(best, float(cost[chosen].sum() - room @ prices))
        return float(room[kind] - memory[chosen, kind].sum())

    if spare(0.0) >= 0:
        return best
    high = time.sum() / max(room[kind], 1.0)
    for _ in range(_HALVINGS):
        if spare(high) >= 0:
            break
        low, high = high, high * 4
    else:  # no price makes it fit: the table that says so is found by the search
        prices[kind] = low
        return best
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if spare(middle) >= 0:
            high = middle
        else:
            low = middle
    spare(high)
    return best


def cheapest(problem: Problem, cost: Floats) -> Ints:
    """[M] the way of least cost of each item; the first of equals."""
    starts = problem.first[:-1]
    least = np.minimum.reduceat(cost, starts)
    item = np.repeat(np.arange(problem.items), np.diff(problem.first))
    hits = np.flatnonzero(cost == least[item])
    chosen: Ints = hits[np.searchsorted(item[hits], np.arange(problem.items))]
    return chosen
