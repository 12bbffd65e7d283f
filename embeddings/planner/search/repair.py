"""Repairs a packing without all items, by ruin and recreate."""

from __future__ import annotations

import dataclasses
import math
import random
import time

import numpy as np

from embeddings.planner.search.packing import Packed

_ROUNDS = 500
# Items of a host that are placed again in a round.
_MOST = 16


def repair(packed: Packed, seed: int, deadline: float) -> Packed:
    """Reduce the left-out items of a packing by rounds of ruin and recreate.

    The total minimum bytes of left-out items never increases.
    """
    assignment = packed.assignment
    problem = assignment.problem
    draw = random.Random(seed)
    least = np.minimum.reduceat(problem.total_memory().sum(axis=1), problem.first[:-1])
    weight: list[int] = (least + 1).tolist()
    missing = set(packed.missing)
    for _ in range(_ROUNDS):
        if not missing or time.monotonic() > deadline:
            break
        wanted = draw.choice(sorted(missing))
        host = draw.randrange(problem.hosts)
        there = sorted(set().union(*assignment.on[host :: problem.hosts]))
        victims = draw.sample(there, min(len(there), _MOST))
        if assignment.everywhere and draw.random() < 0.3:
            victims.append(draw.choice(sorted(assignment.everywhere)))
        removed = [(item, *assignment.take(item)) for item in victims]
        tight = draw.random() < 0.5
        lost = {
            item
            for item in [wanted, *sorted(victims, key=lambda i: -weight[i])]
            if not assignment.put_first(item, packed.ranking[item], math.inf, tight=tight)
        }
        left = (missing - {wanted}) | lost
        if sum(weight[i] for i in left) <= sum(weight[i] for i in missing):
            missing = left
            continue
        for item in [wanted, *victims]:
            if assignment.placement[item] != -1:
                assignment.take(item)
        for item, placement, places in removed:
            assignment.put(item, placement, places)
    return dataclasses.replace(packed, missing=tuple(sorted(missing)))
