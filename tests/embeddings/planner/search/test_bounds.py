"""No plan beats the bound, and prices do not change which placement is a bargain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.problem.problem import EVERYWHERE, FREE, HOST_COLUMNS, Problem
from embeddings.planner.search.bounds import bound, cheapest
from embeddings.planner.search.search import Budget, search
from tests.embeddings.planner.models import request_of
from tests.embeddings.planner.search.test_assignment import ms_on, problems


def least_peak(problem: Problem) -> float:
    """The least peak of all plans, each tried; 0 if they are too many, infinite if none fits."""
    best = math.inf
    for chosen in itertools.product(*(problem.placements(item) for item in range(problem.items))):
        each = [list(laid_out(problem, placement)) for placement in chosen]
        if math.prod(map(len, each)) > 1000:
            return 0.0
        sizes = [
            np.tile(np.repeat(np.arange(3), problem.counts[n]), problem.blocks[n]) for n in chosen
        ]
        for sites in itertools.product(*each):
            load = np.zeros(problem.ranks)
            free = problem.free.copy()
            for placement, shards, ranks in zip(chosen, sizes, sites, strict=True):
                for size, rank in zip(shards, ranks, strict=True):
                    load[rank] += ms_on(problem, placement, rank)
                    free[:, rank] -= problem.memory[placement, size]
            if (free >= 0).all():
                best = min(best, float(load.max()))
    return best


def laid_out(problem: Problem, placement: int) -> Iterator[tuple[int, ...]]:
    """The ranks of a placement's shards, in every way that its layout allows."""
    blocks, local = int(problem.blocks[placement]), problem.local
    ranks, hosts = range(problem.ranks), range(problem.hosts)
    layout = problem.layout[placement]
    if layout == EVERYWHERE:
        yield tuple(ranks)
    elif layout == FREE:
        yield from itertools.product(ranks, repeat=blocks)
    elif layout == HOST_COLUMNS:
        for host in hosts:
            yield from itertools.product(ranks[host * local : (host + 1) * local], repeat=blocks)
    else:
        for chosen in itertools.product(hosts, repeat=blocks):
            yield tuple(host * local + i for host in chosen for i in range(local))


@given(problems().filter(lambda p: p.ranks <= 4 and len(p.time) <= 5))
@settings(max_examples=60, deadline=None)
def test_no_plan_beats_the_bound(problem: Problem) -> None:
    lower = bound(problem)
    optimum = least_peak(problem)
    if 0 < optimum < math.inf:
        assert lower.time <= optimum * (1 + 1e-9)
    found = search(problem, Budget(rounds=50))
    if not found.missing:
        assert max(lower.time, optimum) <= found.time * (1 + 1e-9)


@given(problems())
@settings(max_examples=30, deadline=None)
def test_cheapest_is_the_first_of_least_cost(problem: Problem) -> None:
    cost = np.round(problem.time)
    for item, placement in enumerate(cheapest(problem, cost).tolist()):
        placements = problem.placements(item)
        assert placement == min(placements, key=lambda w: (cost[w], w))


def test_the_bound_knows_what_rules_bind_to_a_host_or_a_rank() -> None:
    tables = [ListedTable(name=f"t{i}", rows=10**6, dim=64) for i in range(6)]
    for rule in (
        Rule(tables="*", together="host", types=("table_wise",)),
        Rule(tables="*", ranks=(1,)),
    ):
        request = request_of(tables, load_cluster("h100-2x3"), rules=[rule])
        found = find_plan(request, Budget(rounds=500, seconds=600))
        assert found.time == pytest.approx(found.lower_bound, rel=1e-3)


def test_the_bound_counts_only_placements_that_fit() -> None:
    """8 ranks of 34 GiB of HBM hold no table of 512 GB whole, nor 11 of 24 GiB each."""
    giant = [ListedTable(name="giant", rows=2_000_000_000, dim=64)]
    small = [ListedTable(name=f"t{i}", rows=100_000, dim=64) for i in range(8)]
    roomy = load_cluster("h100-8x1")
    found = find_plan(request_of([*giant, *small], roomy), Budget(rounds=200, seconds=600))
    assert found.time < 1.3 * found.lower_bound
    tight = load_cluster("a100-40-8x1").model_copy(update={"ddr_gb": 2000})
    large = [
        ListedTable(name=f"t{i}", rows=10**8 + 10**6 * i, dim=64, pooling_factor=1 + 5 * (i % 7))
        for i in range(11)
    ]
    found = find_plan(request_of(large, tight, batch_size=1024), Budget(rounds=5000, seconds=600))
    assert any("uvm" in choice.kernel for choice in found.choices)
    assert found.time < 2 * found.lower_bound
