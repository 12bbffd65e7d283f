"""Each sharding type that a plan uses has a price, and no single type is cheaper than the plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.search import NO_START, Budget, search
from embeddings.planner.search.type_subsets import search_type_subsets, used_types
from tests.embeddings.planner.models import request_of
from tests.embeddings.planner.search.test_assignment import problems


def restricted(problem: Problem, types: Collection[str]) -> Problem | None:
    """The same problem with some of its placements."""
    kept = np.array([kind in types for kind in problem.types])
    counts = np.add.reduceat(kept, problem.first[:-1])
    if not counts.all():
        return None
    return Problem(
        hosts=problem.hosts,
        local=problem.local,
        free=problem.free,
        members=problem.members,
        first=np.concatenate([[0], counts.cumsum()]),
        options=tuple(one for one, keep in zip(problem.options, kept, strict=True) if keep),
        types=tuple(kind for kind, keep in zip(problem.types, kept, strict=True) if keep),
        layout=problem.layout[kept],
        blocks=problem.blocks[kept],
        counts=problem.counts[kept],
        time=problem.time[kept],
        memory=problem.memory[kept],
        pins=problem.pins,
        speeds=problem.speeds
        and dataclasses.replace(
            problem.speeds,
            ms=problem.speeds.ms[kept],
            fits=problem.speeds.fits[kept],
            host_fits=problem.speeds.host_fits[kept],
        ),
    )


@given(problems(), st.floats(0, 20))
@settings(max_examples=20, deadline=None)
def test_no_single_type_is_cheaper_nor_all_of_them(problem: Problem, price: float) -> None:
    budget = Budget(rounds=0)
    solved, found = search_type_subsets(
        problem,
        lambda types: restricted(problem, types),
        lambda types: price * len(set(types)),
        budget,
        lambda _: NO_START,
    )
    every = search(problem, budget)
    if every.missing:
        return
    assert not found.missing
    cost = found.time + price * len(used_types(solved, found))
    for types in ({kind} for kind in problem.types):
        alone = restricted(problem, types)
        if alone is not None and not (one := search(alone, budget)).missing:
            assert cost <= one.time + price + 1e-9
    assert cost <= every.time + price * len(used_types(problem, every)) + 1e-9


def types_of(rows: int, dim: int, bag: float, count: int) -> set[str]:
    tables = [
        ListedTable(name=f"t{n}", rows=rows, dim=dim, pooling_factor=bag) for n in range(count)
    ]
    solution = find_plan(
        request_of(tables, load_cluster("cpu-2x1")), Budget(rounds=200, seconds=600)
    )
    return {choice.sharding_type for choice in solution.choices}


def test_small_tables_of_few_ranks_share_one_type() -> None:
    assert types_of(rows=200, dim=8, bag=1, count=11) == {"data_parallel"}
    assert len(types_of(rows=20_000, dim=16, bag=1, count=40)) == 1
    assert "data_parallel" not in types_of(rows=20_000, dim=16, bag=1, count=40)
