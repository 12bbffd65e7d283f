"""The search with a fixed cost for every sharding type in a plan.

Each type has its own kernels and collectives. A rank pays their fixed cost once, regardless of the
number of tables. With few ranks and small tables this determines the plan. The cost does not belong
to a single table, so the search runs on subsets of the types: each single type, then subsets with a
type added or removed, as long as the plan improves.
"""

from __future__ import annotations

from collections.abc import Callable

from embeddings.planner.problem.problem import Problem
from embeddings.planner.search.bounds import bound
from embeddings.planner.search.search import CLOSE, Budget, SearchResult, Start, search

# Budget without improvement rounds, to compare subsets.
_FIRST = Budget(rounds=0)

Types = frozenset[str]


def search_type_subsets(
    full: Problem,
    restricted: Callable[[Types], Problem | None],
    start_ms: Callable[[Types], float],
    budget: Budget,
    start_of: Callable[[Problem], Start],
) -> tuple[Problem, SearchResult]:
    """Minimize the time of the busiest rank plus `start_ms` of the used types.

    Args:
        full: the problem with all types.
        restricted: the problem with only some types; None if a table supports none of them.
        start_ms: fixed milliseconds of these types on every rank.
        start_of: the earlier plan of a problem; empty if there is none.

    Returns:
        The solved problem and its solution. If nothing fits, that of `full`.
    """
    every = frozenset(full.types)
    earlier = start_of(full)
    tried: set[Types] = set()
    best: tuple[float, Problem, SearchResult] | None = None

    def improves(types: Types, within: Budget = _FIRST) -> bool:
        """Try a plan of `types`; keep it and return True if it is the best so far."""
        nonlocal best
        problem = full if types == every else restricted(types)
        if problem is None:
            return False
        # A plan that uses only some of these types is found for the smaller subset.
        if best and types != every and bound(problem).time + start_ms(types) > best[0]:
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
    """Return the sharding types of a complete solution."""
    return frozenset(problem.types[placement] for placement in found.placements)
