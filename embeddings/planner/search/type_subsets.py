"""The search where every sharding type that a plan uses has a price of its own.

Each type has its own kernels and collectives, whose fixed cost a rank pays once, however many
tables share them. With few ranks and small tables this decides the plan. It is not a cost of any
one table, so the search runs on subsets of the types: each single type, then whatever adding or
dropping a type improves.
"""

from __future__ import annotations

from collections.abc import Callable

from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.bounds import bound
from embeddings.planner.search.search import CLOSE, Budget, SearchResult, search
from embeddings.planner.search.stay import Assignments

# A plan without improvement, to tell subsets apart.
_FIRST = Budget(rounds=0)

Types = frozenset[str]


def search_type_subsets(
    full: Problem,
    restricted: Callable[[Types], Problem | None],
    start_ms: Callable[[Types], float],
    budget: Budget,
    start_of: Callable[[Problem], Assignments | None],
) -> tuple[Problem, SearchResult]:
    """The plan with the least time of the busiest rank plus `start_ms` of the types it uses.

    Args:
        full: the problem with all types.
        restricted: the problem with some of them alone; None where a table could be none of these.
        start_ms: milliseconds that these types cost every rank.
        start_of: assignments of an earlier plan, in a problem's terms.

    Returns:
        The problem that was solved and its solution. If nothing fits, that of `full`.
    """
    every = frozenset(full.types)
    earlier = start_of(full) or {}
    tried: set[Types] = set()
    best: tuple[float, Problem, SearchResult] | None = None

    def improves(types: Types, within: Budget = _FIRST) -> bool:
        """Whether a plan of `types` is the best so far, which it then becomes."""
        nonlocal best
        problem = full if types == every else restricted(types)
        # A plan that uses only some of these types is found under the smaller subset.
        if problem is None or (best and bound(problem).time + start_ms(types) > best[0]):
            return False
        found = search(problem, within, start_of(problem))
        if found.missing:
            return False
        time = found.time + start_ms(used_types(problem, found))
        # Tables do not move for nothing.
        if best and time >= best[0] * (1 - CLOSE if earlier else 1):
            return False
        best = time, problem, found
        return True

    def first(types: Types) -> bool:
        if not types or types in tried:
            return False
        tried.add(types)
        return improves(types)

    first(frozenset(full.types[placement] for placement, _ in earlier.values()))
    alone = [frozenset([name]) for name in every]
    for types in sorted(alone, key=lambda one: (start_ms(one), *one)):
        first(types)
    first(every)
    if best is None:
        return full, search(full, budget, start_of(full))
    while any([first(used_types(*best[1:]) ^ {name}) for name in sorted(every)]):
        pass
    improves(used_types(*best[1:]), budget)
    return best[1], best[2]


def used_types(problem: Problem, found: SearchResult) -> Types:
    """The sharding types of a whole solution."""
    return frozenset(problem.types[placement] for placement in found.placements)
