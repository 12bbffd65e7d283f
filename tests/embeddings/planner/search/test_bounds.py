"""No plan beats the bound, and prices do not change which placement is a bargain."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.bounds import bound, cheapest
from embeddings.planner.search.search import Budget, search
from tests.embeddings.planner.models import request_of
from tests.embeddings.planner.search.test_assignment import problems


def least_peak(problem: Problem) -> float:
    """The least peak of all placements with shards anywhere: no plan may be below it.

    Shards are placed rank by rank without regard to layouts, which can only help.
    """
    best = math.inf
    ranks = range(problem.ranks)
    for chosen in itertools.product(*(problem.placements(item) for item in range(problem.items))):
        if len(chosen) > 3:
            return 0.0
        shards = [
            (problem.time[placement], problem.memory[placement, size])
            for placement in chosen
            for size in np.tile(
                np.repeat(np.arange(3), problem.counts[placement]), problem.blocks[placement]
            )
        ]
        if len(shards) > 5:
            return 0.0
        for places in itertools.product(ranks, repeat=len(shards)):
            load = np.zeros(problem.ranks)
            free = problem.free.copy()
            for (time, memory), place in zip(shards, places, strict=True):
                load[place] += time
                free[:, place] -= memory
            if (free >= 0).all():
                best = min(best, float(load.max()))
    return best


@given(problems().filter(lambda p: p.ranks <= 3 and len(p.time) <= 5))
@settings(max_examples=25, deadline=None)
def test_no_plan_beats_the_bound(problem: Problem) -> None:
    lower = bound(problem)
    optimum = least_peak(problem)
    if 0 < optimum < math.inf:
        assert lower.time <= optimum * (1 + 1e-9)
    found = search(problem, Budget(rounds=50))
    if not found.missing:
        assert lower.time <= found.time * (1 + 1e-9)


@given(problems())
@settings(max_examples=30, deadline=None)
def test_cheapest_is_the_first_of_least_cost(problem: Problem) -> None:
    cost = np.round(problem.time)
    for item, placement in enumerate(cheapest(problem, cost).tolist()):
        placements = problem.placements(item)
        assert placement == min(placements, key=lambda w: (cost[w], w))


def test_the_bound_counts_only_placements_that_fit() -> None:
    """8 ranks of 34 GiB of HBM hold no table of 512 GB whole, nor 11 of 24 GiB each."""
    giant = [ListedTable(name="giant", rows=2_000_000_000, dim=64)]
    small = [ListedTable(name=f"t{i}", rows=100_000, dim=64) for i in range(8)]
    roomy = load_cluster("h100-8x1")
    found = find_plan(request_of([*giant, *small], roomy), Budget(rounds=200))
    assert found.time < 1.3 * found.lower_bound
    tight = load_cluster("a100-40-8x1").model_copy(update={"ddr_gb": 2000})
    large = [
        ListedTable(name=f"t{i}", rows=10**8 + 10**6 * i, dim=64, pooling_factor=1 + 5 * (i % 7))
        for i in range(11)
    ]
    found = find_plan(request_of(large, tight, batch_size=1024), Budget(rounds=5000))
    assert any("uvm" in choice.kernel for choice in found.choices)
    assert found.time < 2 * found.lower_bound
