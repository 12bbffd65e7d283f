"""Diagnoses a request without a plan: missing memory, and relaxations that fit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from torchrec.distributed.planner.types import PlannerError

from embeddings.planner.infeasibility.infeasible import (
    Infeasible,
    MissingMemory,
    Relaxation,
    Reserved,
    Shortfall,
)
from embeddings.planner.infeasibility.resource_relaxations import try_resource_relaxations
from embeddings.planner.infeasibility.table_relaxations import try_table_relaxations
from embeddings.planner.infeasibility.trial import Outcome
from embeddings.planner.inputs.arrays import IntArray
from embeddings.planner.inputs.cluster import GIB
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.problem.options import MEMORIES, amounts
from embeddings.planner.problem.pricing import Priced, reserve
from embeddings.planner.search.placements import Placements
from embeddings.planner.search.search import SearchResult


def diagnose(
    request: PlanRequest, priced: Priced, found: SearchResult, seconds: float
) -> Infeasible:
    """Return what `found` lacks, and relaxations that fit, found within about `seconds`."""
    assert found.missing
    left = _left(priced, found)
    shortfalls = tuple(_shortfalls(priced, found, left))
    names = tuple(row.table for row in shortfalls)
    tables = [model_table.name for model_table in priced.options.tables]
    deadline = time.monotonic() + seconds
    relaxations, untried = _collected(
        chain(
            try_table_relaxations(request, names, tables, deadline),
            try_resource_relaxations(request, deadline),
        )
    )
    worst = max(shortfalls, key=lambda row: row.short)
    reason = (
        f"no sharding plan: {len(names)} of {len(tables)} tables do not fit on "
        f"{priced.problem.ranks} ranks; {worst.table!r} lacks {_size(worst.short)} of "
        f"{worst.memory.upper()} (its smallest shard is {_size(worst.needs)}, "
        f"the emptiest rank has {_size(worst.room)} left)"
    )
    missing_memory = MissingMemory(
        shortfalls=shortfalls,
        total=_total(priced),
        left=tuple(tuple(row) for row in left.T.tolist()),
    )
    return Infeasible(reason, missing_memory, relaxations, untried)


def reserved_too_much(request: PlanRequest, seconds: float) -> Infeasible:
    """Return the error if the memory reserved for other uses exceeds a device's."""
    kind = MEMORIES.index("hbm" if request.cluster.device == "cuda" else "ddr")
    reserved = _reserved(request, kind)
    relaxations, untried = _collected(try_resource_relaxations(request, time.monotonic() + seconds))
    reason = (
        f"no sharding plan: no memory is left for tables: dense weights and a batch of "
        f"{request.batch_size:,} rows take {_size(reserved.needs)} of a device's "
        f"{_size(reserved.room)} of {reserved.memory.upper()}"
    )
    return Infeasible(reason, MissingMemory(reserved=reserved), relaxations, untried)


def _collected(
    outcomes: Iterable[Outcome],
) -> tuple[tuple[Relaxation, ...], tuple[str, ...]]:
    found = list(outcomes)
    late = dict.fromkeys(one.kind for one in found if one.late)
    return tuple(one.change for one in found if one.change), tuple(late)


def _reserved(request: PlanRequest, kind: int) -> Reserved:
    """Return what is reserved on the first device, the one that TorchRec checks."""
    field = ("hbm_gb", "ddr_gb")[kind]
    room = request.group.topology().devices[0].storage
    setup = request.setup.model_copy(update={"reserve_share": 0.0})
    fixed = None
    has = getattr(request.cluster, field)
    while fixed is None:
        has *= 2
        cluster = request.cluster.model_copy(update={field: has, "other_devices": ()})
        larger = request.changed(cluster=cluster, setup=setup)
        try:
            left = reserve(larger).devices[0].storage
        except PlannerError:
            continue
        everything = larger.group.topology().devices[0].storage
        fixed = amounts(everything)[kind] - amounts(left)[kind]
    device = amounts(room)[kind]
    # TorchRec takes the share from HBM only.
    share = request.setup.reserve_share if MEMORIES[kind] == "hbm" else 0.0
    needs = device - int((1 - share) * device) + fixed
    return Reserved(memory=MEMORIES[kind], needs=needs, room=device)


def _left(priced: Priced, found: SearchResult) -> IntArray:
    """Return the bytes left beside the placed items by MEMORIES, [3, R]."""
    free, placements = priced.problem.free.copy(), Placements(priced.problem)
    for item, placement in enumerate(found.placements):
        if placement >= 0:
            for left, needed in zip(free, placements.needs(placement), strict=True):
                np.subtract.at(left, found.ranks[item], needed)
    return free


def _shortfalls(priced: Priced, found: SearchResult, left: IntArray) -> Iterator[Shortfall]:
    """Return for each missing item the placement and memory that are closest to fitting."""
    problem = priced.problem
    for item in found.missing:
        placements = problem.placements(item)
        # [placements, 3, R]: missing bytes of a first shard on each rank.
        lacks = problem.memory[placements.start : placements.stop, 0, :, None] - left[None]
        per_rank = lacks.max(axis=1)
        nearest, rank = divmod(int(per_rank.argmin()), problem.ranks)
        kind = int(lacks[nearest, :, rank].argmax())
        yield Shortfall(
            table=priced.options.tables[problem.members[item][0]].name,
            memory=MEMORIES[kind],
            needs=int(problem.memory[placements.start + nearest, 0, kind]),
            room=max(int(left[kind, rank]), 0),
            rank=rank,
        )


def _total(priced: Priced) -> dict[str, tuple[int, int]]:
    problem = priced.problem
    least = np.minimum.reduceat(problem.total_memory(), problem.first[:-1])
    room = np.maximum(problem.free, 0).sum(axis=1)
    return {
        name: (int(least[:, kind].sum()), int(room[kind])) for kind, name in enumerate(MEMORIES)
    }


def _size(count: int) -> str:
    for unit, factor in (("GiB", GIB), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:,} bytes"
