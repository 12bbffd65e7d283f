"""A plan that starts from another moves no table for nothing."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.plans.reshard import reshard
from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.assignment import Assignment
from embeddings.planner.search.search import Budget, search
from embeddings.planner.search.stay import stay
from tests.embeddings.planner.models import request_of
from tests.embeddings.planner.search.test_assignment import books, problems


def placed(problem: Problem, seed: int, rounds: int) -> Assignment | None:
    """What a search finds, if all fits."""
    found = search(problem, Budget(rounds=rounds, seed=seed))
    if found.missing:
        return None
    assignment = Assignment(problem)
    for item, (placement, ranks) in enumerate(zip(found.placements, found.ranks, strict=True)):
        assignment.put(item, placement, assignment.placements.place_of[ranks])
    return assignment


@given(problems(), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_the_peak_stays_and_what_could_go_back_is_back(problem: Problem, seed: int) -> None:
    earlier, found = placed(problem, 0, 0), placed(problem, seed, 40)
    if earlier is None or found is None:
        return
    start = dict(enumerate(zip(earlier.placement, earlier.places, strict=True)))
    peak = found.peak()
    ranking = [list(problem.placements(item)) for item in range(problem.items)]
    stay(found, ranking, start, peak, seed, math.inf)
    assert found.peak() <= peak * (1 + 1e-9)
    load, free = books(found)
    assert max(load) <= peak * (1 + 1e-9)
    assert min(min(left) for left in free) >= 0
    for item, (placement, places) in start.items():
        if (found.placement[item], found.places[item].tolist()) == (placement, places.tolist()):
            continue
        taken = found.take(item)
        found.put(item, placement, places)
        assert found.peak() > peak or found.free.min() < 0
        found.take(item)
        found.put(item, *taken)


def planned(tables: list[ListedTable], seed: int, previous: PlanFile | None = None) -> PlanFile:
    request = request_of(tables, load_cluster("h100-4x2"))
    budget = Budget(rounds=1500, seconds=600, seed=seed)
    warm = previous.sharding_plan() if previous else None
    return describe_plan(request, find_plan(request, budget, previous=warm), tables, seed)


def reshard_of(before: PlanFile, after: PlanFile) -> int:
    """Bytes that the tables of both move."""
    names = {placed.table.name for placed in before.tables}
    common = tuple(placed for placed in after.tables if placed.table.name in names)
    return int(reshard(before, after.model_copy(update={"tables": common})).sent.sum())


def test_equal_plans_move_no_byte_and_better_ones_few() -> None:
    draw = np.random.default_rng(0)
    tables = [
        ListedTable(
            name=f"t{i}", rows=int(10 ** draw.uniform(4, 7)), dim=64, pooling_factor=1 + i % 5
        )
        for i, power in enumerate(draw.uniform(4, 7, 30))
    ]
    first = planned(tables, 0)
    assert reshard(first, planned(tables, 1, first)).sent.sum() == 0
    # One table more is no reason to move all others.
    grown = [*tables, ListedTable(name="new", rows=100, dim=4)]
    cold, warm = planned(grown, 2), planned(grown, 2, first)
    assert warm.time_ms <= cold.time_ms * (1 + 1e-4)
    moved, anew = (int(reshard_of(first, plan)) for plan in (warm, cold))
    assert anew > 0
    assert moved < anew / 2
