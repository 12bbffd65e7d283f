"""The planner's door: a request to a plan, or to what stands in its way."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torchrec.distributed.planner.types import PlannerError
from torchrec.distributed.types import ShardingPlan

from embeddings.planner.advice.infeasibility import diagnose, reserved_too_much
from embeddings.planner.inputs.request import Request, price
from embeddings.planner.plans.solution import Planned, build_plan, start_from
from embeddings.planner.search.search import Budget, search


def find_plan(
    request: Request,
    budget: Budget | None = None,
    *,
    previous: ShardingPlan | None = None,
    diagnosis_seconds: float = 60.0,
) -> Planned:
    """The plan whose busiest rank is predicted to be done first, as far as the budget goes.

    `previous`: an earlier plan to start from; the result is no worse than it if it still fits.
    Raises Infeasible, with what is missing and what would help, if no plan fits, and ValueError
    for rules that contradict the model.
    """
    budget = budget or Budget()
    with quiet():
        try:
            priced = price(request)
        except PlannerError as error:
            raise reserved_too_much(request, diagnosis_seconds) from error
        start = start_from(priced, previous) if previous else None
        found = search(priced.problem, budget, start)
        if found.missing:
            raise diagnose(request, priced, found, diagnosis_seconds)
        return build_plan(priced, found)


@contextmanager
def quiet() -> Iterator[None]:
    """Without TorchRec's remarks on each option of each table."""
    log = logging.getLogger("torchrec")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
