"""Tries a changed request: whether a plan exists, and its step time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from torchrec.distributed.planner.types import PlannerError

from embeddings.planner.infeasibility.infeasible import Relaxation
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.problem.enumerator import CompactEnumerator
from embeddings.planner.problem.options import Options
from embeddings.planner.problem.pricing import price
from embeddings.planner.search.search import Budget, search


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Outcome of one kind of relaxation: one that fits, or none; `late` if time ran out."""

    kind: str
    change: Relaxation | None = None
    late: bool = False


Outcomes = Iterator[Outcome]


def fits(
    request: PlanRequest, known: tuple[CompactEnumerator, Options] | None = None
) -> float | None:
    """Return the predicted milliseconds of an initial plan, if any. `known`: see `price`."""
    try:
        problem = price(request, known).problem
    except PlannerError:
        return None
    found = search(problem, Budget(rounds=0))
    return None if found.missing else found.time


def past(deadline: float) -> bool:
    """Whether `deadline`, by time.monotonic(), has passed."""
    return time.monotonic() >= deadline


def apart(new: float, old: float) -> float:
    """Return the difference of two amounts relative to the larger one."""
    return abs(new - old) / max(new, old)
