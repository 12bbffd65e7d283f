"""A lower bound for all plans, and the price of a byte, from a relaxed problem."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.problem.problem import Problem

_ROUNDS = 3
_HALVINGS = 40
# Search for the share of a speed in all weights.
_GOLDEN = (math.sqrt(5) - 1) / 2
_SECTIONS = 20
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """`time`: lower bound in milliseconds. `prices`: [3] milliseconds per byte. `weights`: of a
    millisecond by speed, [K], that give the bound; None if all ranks are equally fast."""

    time: float
    prices: FloatArray
    weights: FloatArray | None = None


def bound(problem: Problem) -> Bound:
    """Compute a Lagrangian bound: memory of all ranks is pooled and priced instead of limited.

    If the busiest rank of a plan has load T, no shard takes longer than T, and all ranks together
    have at most R * T. For any price l >= 0 per byte, their total is at least the sum over items of
    the cheapest placement's time + l * bytes, minus l * (total memory). T is at least the smallest
    value that satisfies both. The prices are the lowest at which the cheapest placements fit.
    Placements that take at most T must also fit into the total memory.

    If ranks differ in speed, all of this holds for any weights of ranks that add up to R; those
    that give the largest bound make fast and slow ranks equally attractive.

    The same holds of each host for the items that a rule keeps on one, and of each rank for those
    pinned to it.
    """
    total = _Pooled(problem)
    if problem.speeds is None:
        return _priced(total)
    best = _priced(total)
    weights = np.ones(len(problem.speeds.sizes))
    for _ in range(_ROUNDS):
        weights = _weigh(total, best.prices, weights, problem.speeds.sizes)
        total.weigh(weights)
        found = _priced(total)
        if found.time <= best.time:
            break
        best = dataclasses.replace(found, weights=weights)
    return best


def _priced(total: _Pooled) -> Bound:
    prices = np.zeros(len(total.room))
    time = 0.0
    for limit in (math.inf, None):
        prices = total.prices(time if limit is None else limit)
        time = max(time, total.least_limit(prices))
    return Bound(time=time, prices=prices)


def _tied(problem: Problem) -> float:
    """Return the least load of hosts and ranks that rules name for items."""
    ms, speed = problem.time[:, None], np.zeros(problem.ranks, np.int64)
    if problem.speeds is not None:
        ms, speed = problem.speeds.ms, problem.speeds.of
    total = ms.min(axis=1) * problem.blocks * problem.counts.sum(axis=1)
    least = np.minimum.reduceat(total, problem.first[:-1])
    load = np.zeros(problem.ranks)
    for placements, pins in problem.sites().pinned:
        ranks = np.array(pins, np.int64)
        np.add.at(load, ranks, ms[placements].min(axis=0)[speed[ranks]])
    groups = np.array(problem.host_group, np.int64)
    tied = [least[groups == group].sum() / problem.local for group in set(groups.tolist()) - {-1}]
    return float(max([load.max(), *tied]))


def _weigh(total: _Pooled, prices: FloatArray, weights: FloatArray, sizes: IntArray) -> FloatArray:
    """Return weights of a larger bound at these prices: one speed's share of all after another, by
    golden sections, of which the bound is a quasiconcave function."""
    shares = weights * sizes / sizes.sum()

    def moved(speed: int, share: float) -> FloatArray:
        new = shares * (1 - share) / (1 - shares[speed])
        new[speed] = share
        return new

    def least(speed: int, share: float) -> float:
        total.weigh(moved(speed, share) * sizes.sum() / sizes)
        return total.least_limit(prices)

    for speed in range(len(sizes)):
        low, high = _LEAST_SHARE, 1 - _LEAST_SHARE
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = least(speed, left), least(speed, right)
        for _ in range(_SECTIONS):
            if at_left > at_right:
                high, right, at_right = right, left, at_left
                left = high - _GOLDEN * (high - low)
                at_left = least(speed, left)
            else:
                low, left, at_left = left, right, at_right
                right = low + _GOLDEN * (high - low)
                at_right = least(speed, right)
        shares = moved(speed, (low + high) / 2)
    found: FloatArray = shares * sizes.sum() / sizes
    return found


class _Pooled:
    """The problem without ranks: one pool of time and one per memory."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.weigh(None)
        self.memory = problem.total_memory().astype(np.float64)
        self.room = np.maximum(problem.free, 0).sum(axis=1).astype(np.float64)
        self.smallest = max(self._fitting_limit(), _tied(problem))

    def weigh(self, weights: FloatArray | None) -> None:
        """Weight each rank's milliseconds by its speed."""
        self.time = self.problem.total_time(weights)

    def _fitting_limit(self) -> float:
        """Return the smallest T at which every item has a placement and the smallest ones fit."""
        least = float(np.minimum.reduceat(self.problem.time, self.problem.first[:-1]).max())
        times = sorted({time for time in self.problem.time.tolist() if time >= least})

        def fits(limit: float) -> bool:
            return all(
                cheapest_cost(self.problem, self.memory[:, kind], limit).sum() <= room
                for kind, room in enumerate(self.room)
            )

        first = bisect_left(times, True, key=fits)
        # If nothing fits, the search reports what is missing.
        return times[first] if first < len(times) else least

    def least_limit(self, prices: FloatArray) -> float:
        """Return the smallest T that is consistent with the prices."""
        low = self.smallest
        cost = self.time + self.memory @ prices

        def too_low(limit: float) -> bool:
            least = cheapest_cost(self.problem, cost, limit).sum() - self.room @ prices
            return bool(least > limit * self.problem.ranks)

        if not too_low(low):
            return low
        high = 2 * low
        while too_low(high):
            if math.isinf(high):
                return low
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if too_low(middle) else (low, middle)
        return low

    def prices(self, limit: float) -> FloatArray:
        """Find the lowest prices at which the cheapest placements fit, by bisection per memory."""
        prices = np.zeros(len(self.room))
        for _ in range(_ROUNDS):
            for kind in range(len(self.room)):
                self._halve(prices, kind, limit)
        return prices

    def _halve(self, prices: FloatArray, kind: int, limit: float) -> None:
        def spare(price: float) -> float:
            prices[kind] = price
            chosen = cheapest(self.problem, self.time + self.memory @ prices, limit)
            return float(self.room[kind] - self.memory[chosen, kind].sum())

        if spare(0.0) >= 0:
            return
        low, high = 0.0, float(self.time.sum()) / max(self.room[kind], 1.0)
        for _ in range(_HALVINGS):
            if spare(high) >= 0:
                break
            low, high = high, high * 4
        else:  # no price makes it fit: the search reports the table that does not
            prices[kind] = 0.0
            return
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if spare(middle) >= 0 else (middle, high)
        prices[kind] = high


def cheapest_cost(problem: Problem, cost: FloatArray, limit: float = math.inf) -> FloatArray:
    """Return each item's minimum cost among placements with shards up to `limit`, [M]."""
    within = np.where(problem.time <= limit, cost, math.inf)
    least: FloatArray = np.minimum.reduceat(within, problem.first[:-1])
    return least


def cheapest(problem: Problem, cost: FloatArray, limit: float = math.inf) -> IntArray:
    """Return the placement of this cost, [M]: the first of equals; the first if all exceed it."""
    within = np.where(problem.time <= limit, cost, math.inf)
    least = np.minimum.reduceat(within, problem.first[:-1])
    item = np.repeat(np.arange(problem.items), np.diff(problem.first))
    hits = np.flatnonzero(within == least[item])
    chosen: IntArray = hits[np.searchsorted(item[hits], np.arange(problem.items))]
    return chosen
