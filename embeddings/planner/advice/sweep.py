"""Plans every combination of the values of some inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.plans.solution import Solution
from embeddings.planner.plans.storage import fullest
from embeddings.planner.problem.options import MEMORIES, PARTS
from embeddings.planner.problem.problem import rated
from embeddings.planner.search.search import Budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A combination of values with its plan, or the reason that there is none."""

    values: Mapping[str, Any]
    solution: Solution | None
    error: Infeasible | None
    """Missing memory, if nothing fits."""
    seconds: float
    """Seconds of the search."""

    def row(self) -> dict[str, Any]:
        """Return JSON values: milliseconds of the busiest rank, in total and by part; bytes of the
        emptiest and of the fullest rank; imbalance. Or the missing memory."""
        found: dict[str, Any] = {**self.values, "feasible": self.solution is not None}
        if self.solution is None:
            assert self.error is not None
            return found | {"reason": self.error.reason, **self.error.missing_memory.data()}
        plan = self.solution
        load = rated(plan.perf) + plan.sync
        busiest = int(load.argmax())
        full = fullest(plan.memory, plan.room)
        return found | {
            "time_ms": plan.time,
            "lower_bound_ms": plan.lower_bound,
            "ms": dict(zip(PARTS, plan.perf[busiest].tolist(), strict=True)),
            "sync_ms": float(plan.sync[busiest]),
            "imbalance": float(load.max() / load.mean()),
            "memory": {
                memory: [int(plan.memory[:, i].min()), int(plan.memory[full[i], i])]
                for i, memory in enumerate(MEMORIES)
            },
            "room": {memory: int(plan.room[full[i], i]) for i, memory in enumerate(MEMORIES)},
            "search_seconds": round(self.seconds, 3),
        }


def combinations(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination, the last axis fastest."""
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def sweep(
    axes: Mapping[str, Sequence[Any]],
    request_of: Callable[[Mapping[str, Any]], PlanRequest],
    budget: Budget,
) -> Iterator[Point]:
    """Yield a point for every combination. Each is searched from scratch.

    Relaxations of infeasible points are not searched.
    """
    for values in combinations(axes):
        began = time.monotonic()
        solution: Solution | None = None
        failed: Infeasible | None = None
        try:
            solution = find_plan(request_of(values), budget, diagnosis_seconds=0)
        except Infeasible as error:
            failed = error
        took = time.monotonic() - began
        yield Point(values=values, solution=solution, error=failed, seconds=took)
