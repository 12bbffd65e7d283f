"""An assignment counts load and memory right, and puts nothing where it does not fit."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.planner.problem.problem import (
    EVERYWHERE,
    FREE,
    HOST_COLUMNS,
    HOST_ROWS,
    Problem,
    sites_of,
)
from embeddings.planner.problem.speeds import slowest_ms, speeds_of
from embeddings.planner.search.assignment import Assignment


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """A few items with a few placements each, of all layouts, on ranks of one or two speeds; memory
    is scarce."""
    hosts, local = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    ranks = hosts * local
    rows: list[tuple[int, int, list[int], float, list[list[int]]]] = []
    first = [0]
    for _ in range(draw(st.integers(1, 6))):
        for _ in range(draw(st.integers(1, 4))):
            layout = draw(st.sampled_from([EVERYWHERE, FREE, HOST_COLUMNS, HOST_ROWS]))
            blocks = 1 if layout == EVERYWHERE else draw(st.integers(1, 4))
            length = {EVERYWHERE: ranks, HOST_ROWS: local}.get(layout, 1)
            full = draw(st.integers(1, length))
            last = min(1, length - full)
            big = draw(st.integers(0, 8))
            small = draw(st.integers(0, big))
            memory = [[big, big // 2], [small, small // 2], [0, 0]]
            time = draw(st.floats(0.1, 10))
            rows.append((layout, blocks, [full, last, length - full - last], time, memory))
        first.append(len(rows))
    layouts = np.array([row[0] for row in rows], np.int64)
    took = np.array([row[3] for row in rows])
    pins = (None,) * (len(first) - 1)
    speeds = None
    counts = np.array([row[2] for row in rows], np.int64)
    memories = np.array([row[4] for row in rows], np.int64)
    free = np.array([[draw(st.sampled_from([20, 20, 6]))] * local for _ in range(hosts)])
    free = np.stack([free.reshape(-1), np.full(ranks, 15)])
    if ranks > 1 and draw(st.booleans()):
        of = np.array([0, 1, *(draw(st.integers(0, 1)) for _ in range(ranks - 2))], np.int64)
        other = [draw(st.sampled_from([0.3, 1.0, 2.0])) for _ in rows]
        ms = np.stack([took, took * other], axis=1)
        speeds = speeds_of(of, ms, free, local, memories, counts)
        took = slowest_ms(speeds, sites_of(layouts, np.array(first), pins))
    return Problem(
        hosts=hosts,
        local=local,
        free=free,
        members=tuple((i,) for i in range(len(first) - 1)),
        first=np.array(first, np.int64),
        options=tuple((n,) for n in range(len(rows))),
        types=tuple(f"type_{row[0]}" for row in rows),
        layout=layouts,
        blocks=np.array([row[1] for row in rows], np.int64),
        counts=counts,
        time=took,
        memory=memories,
        pins=pins,
        speeds=speeds,
    )


def ms_on(problem: Problem, placement: int, rank: int) -> float:
    """Milliseconds of a shard on a rank."""
    if problem.speeds is None:
        return float(problem.time[placement])
    return float(problem.speeds.ms[placement, problem.speeds.of[rank]])


def books(assignment: Assignment) -> tuple[list[float], list[list[int]]]:
    """Loads and free memory by rank, counted shard by shard."""
    problem = assignment.problem
    load = [0.0] * problem.ranks
    free = problem.free.T.tolist()
    for item, placement in enumerate(assignment.placement):
        if placement < 0:
            continue
        sizes = [s for s in range(3) for _ in range(problem.counts[placement, s])]
        shards = sizes * int(problem.blocks[placement])
        ranks = assignment.placements.rank_of[assignment.places[item]].tolist()
        for size, rank in zip(shards, ranks, strict=True):
            load[rank] += ms_on(problem, placement, rank)
            for kind in range(2):
                free[rank][kind] -= int(problem.memory[placement, size, kind])
    return load, free


@given(problems(), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=150, deadline=None)
def test_books_are_right_and_nothing_goes_where_it_does_not_fit(
    problem: Problem, draw: random.Random, limited: bool
) -> None:
    assignment = Assignment(problem)
    for _ in range(30):
        item = draw.randrange(problem.items)
        if assignment.placement[item] >= 0:
            assignment.take(item)
            continue
        placement = draw.choice(list(problem.placements(item)))
        limit = draw.uniform(0, 20) if limited else math.inf
        places = assignment.find(item, placement, limit)
        if places is None:
            continue
        assignment.put(item, placement, places)
        load, free = books(assignment)
        used = assignment.placements.rank_of[places]
        assert max(load[rank] for rank in used) <= limit * (1 + 1e-9)
        assert min(min(row) for row in free) >= 0
        assert np.allclose(
            assignment.load, np.array(load)[assignment.placements.rank_of], atol=1e-9
        )
        assert (assignment.free == np.array(free).T[:, assignment.placements.rank_of]).all()
        hosts = (used // problem.local).tolist()
        if problem.layout[placement] == HOST_COLUMNS:
            assert len(set(hosts)) == 1
        if problem.layout[placement] == HOST_ROWS:
            assert (used % problem.local == np.arange(len(used)) % problem.local).all()
            blocks = np.array(hosts).reshape(-1, problem.local)
            assert (blocks == blocks[:, :1]).all()
            if problem.blocks[placement] <= problem.hosts:
                assert len(set(hosts)) == problem.blocks[placement]
        if problem.layout[placement] == EVERYWHERE:
            assert used.tolist() == list(range(problem.ranks))


@given(problems(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_items_of_a_group_share_a_host(problem: Problem, draw: random.Random) -> None:
    groups = tuple(draw.choice([-1, 0, 1]) for _ in range(problem.items))
    assignment = Assignment(dataclasses.replace(problem, host_group=groups))
    for _ in range(30):
        item = draw.randrange(problem.items)
        if assignment.placement[item] >= 0:
            assignment.take(item)
            continue
        placement = draw.choice(list(problem.placements(item)))
        across = problem.layout[placement] == EVERYWHERE or (
            problem.layout[placement] == HOST_ROWS and problem.blocks[placement] > 1
        )
        if groups[item] >= 0 and across:
            continue  # kept out where the problem is made
        places = assignment.find(item, placement, math.inf, tight=draw.random() < 0.5)
        if places is None:
            continue
        assert assignment.suits(item, places)
        assignment.put(item, placement, places)
        for group in (0, 1):
            hosts = {
                place % problem.hosts
                for other, on in enumerate(assignment.places)
                if groups[other] == group
                for place in on.tolist()
            }
            assert len(hosts) <= 1


@given(problems())
@settings(max_examples=50, deadline=None)
def test_restore_brings_everything_back(problem: Problem) -> None:
    assignment = Assignment(problem)
    for item in range(problem.items):
        placement = problem.placements(item)[0]
        places = assignment.find(item, placement, math.inf)
        if places is not None:
            assignment.put(item, placement, places)
    seen = assignment.snapshot()
    before = (assignment.placement.copy(), books(assignment))
    for item in range(problem.items):
        if assignment.placement[item] >= 0:
            assignment.take(item)
            other = problem.placements(item)[-1]
            places = assignment.find(item, other, math.inf)
            if places is not None:
                assignment.put(item, other, places)
    assignment.restore(seen)
    after = (assignment.placement, books(assignment))
    assert before[0] == after[0]
    assert np.allclose(before[1][0], after[1][0], atol=1e-9)
    assert before[1][1] == after[1][1]
