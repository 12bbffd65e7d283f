"""The planner's entry point: finds a plan for a request."""

from __future__ import annotations

import dataclasses

from torchrec.distributed.planner.types import PlannerError
from torchrec.distributed.types import ShardingPlan

from embeddings.planner.infeasibility.diagnose import diagnose, reserved_too_much
from embeddings.planner.inputs.costs import StartCosts
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.torchrec_log import torchrec_silenced
from embeddings.planner.plans.solution import Solution, build_plan, start_from
from embeddings.planner.problem.pricing import Priced, price
from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.search import NO_START, Budget, SearchResult, Start, search
from embeddings.planner.search.type_subsets import search_type_subsets


def find_plan(
    request: PlanRequest,
    budget: Budget | None = None,
    *,
    previous: ShardingPlan | None = None,
    diagnosis_seconds: float = 60.0,
) -> Solution:
    """Find the plan with the fastest busiest rank within the budget.

    `previous`: an earlier plan to start from; if it still fits, the result is no worse. Raises
    Infeasible, with the missing memory and relaxations, if no plan fits, and ValueError for rules
    that contradict the model.
    """
    budget = budget or Budget()
    with torchrec_silenced():
        try:
            priced = price(request)
        except PlannerError as error:
            raise reserved_too_much(request, diagnosis_seconds) from error
        priced, found = _search(request, priced, budget, previous)
        if found.missing:
            raise diagnose(request, priced, found, diagnosis_seconds)
        return build_plan(priced, found)


def _search(
    request: PlanRequest, priced: Priced, budget: Budget, previous: ShardingPlan | None
) -> tuple[Priced, SearchResult]:
    """Return the solved problem and its solution."""

    def start_of(problem: Problem) -> Start:
        now = dataclasses.replace(priced, problem=problem)
        return start_from(now, previous) if previous else NO_START

    costs = request.cluster.costs
    if costs is None or costs.starts == StartCosts():
        return priced, search(priced.problem, budget, start_of(priced.problem))
    problem, found = search_type_subsets(
        priced.problem,
        priced.restricted,
        request.group.start_ms,
        budget,
        start_of,
    )
    return dataclasses.replace(priced, problem=problem), found
