"""Put items back where an earlier plan had them, as long as no rank then carries more."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

import numpy as np

from embeddings.planner.inputs.arrays import IntArray
from embeddings.planner.search.assignment import Assignment

_ROUNDS = 500
# Loads are sums of floats, in another order after items moved.
_ROUNDING = 1e-12

_Start = Mapping[int, tuple[int, IntArray]]
"""Item -> its placement, and the place (see Assignment) of each shard."""


def stay(
    assignment: Assignment,
    ranking: list[list[int]],
    start: _Start,
    limit: float,
    seed: int,
    deadline: float,
) -> None:
    """Move fewer bytes from `start`: changes a whole assignment in place, no rank above `limit`.

    First one by one, then each of those left together with all others that are in its way.
    """
    if not start:
        return
    limit *= 1 + _ROUNDING
    size = assignment.problem.total_memory().sum(axis=1)
    weight = {item: int(size[placement]) for item, (placement, _) in start.items()}
    away = {item for item in start if not _is_back(assignment, item, start)}
    while back := [
        i for i in sorted(away, key=lambda i: -weight[i]) if _move_back(assignment, i, start, limit)
    ]:
        away.difference_update(back)
    new = {item for item in range(assignment.problem.items) if item not in start}
    draw = random.Random(seed)
    for _ in range(_ROUNDS):
        if not away or time.monotonic() > deadline:
            return
        wanted = draw.choice(sorted(away))
        there = set().union(*(assignment.on[place] for place in start[wanted][1].tolist()))
        others = (there | assignment.everywhere) & (away | new) - {wanted}
        moved = [wanted, *sorted(others)]
        removed = [(item, *assignment.take(item)) for item in moved]
        fits = _put_back(assignment, wanted, start, limit)
        for item in moved[1:]:
            fits = fits and (
                (item in start and _put_back(assignment, item, start, limit))
                or assignment.put_first(item, ranking[item], limit)
            )
        left = {item for item in away if not (fits and _is_back(assignment, item, start))}
        if fits and sum(weight[i] for i in left) < sum(weight[i] for i in away):
            away = left
            continue
        for item in moved:
            if assignment.placement[item] != -1:
                assignment.take(item)
        for item, placement, places in removed:
            assignment.put(item, placement, places)


def _is_back(assignment: Assignment, item: int, start: _Start) -> bool:
    placement, places = start[item]
    return assignment.placement[item] == placement and np.array_equal(
        assignment.places[item], places
    )


def _move_back(assignment: Assignment, item: int, start: _Start, limit: float) -> bool:
    """Move an item back; False, and nothing done, if it does not fit there."""
    placement, places = assignment.take(item)
    if _put_back(assignment, item, start, limit):
        return True
    assignment.put(item, placement, places)
    return False


def _put_back(assignment: Assignment, item: int, start: _Start, limit: float) -> bool:
    placement, places = start[item]
    if not assignment.suits(item, places):
        return False
    assignment.put(item, placement, places)
    if assignment.load[places].max() <= limit and (assignment.free[:, places] >= 0).all():
        return True
    assignment.take(item)
    return False
