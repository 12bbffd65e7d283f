"""Time a plan's steps on the ranks that it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch.distributed as dist

from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import PARTS
from pipeline.planning.sharded_tables import ShardedTables
from pipeline.ranks.world import World

# Of PARTS, all that are run here: no caches are filled ahead of a lookup.
TIMED = tuple(part for part in PARTS if part != "prefetch_compute")
# What else is on the clock, and part of bwd_comms.
INSIDE = ("all_reduce", "optimizer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a plan took. Milliseconds; medians over repeats of each rank's own clock."""

    ms: tuple[dict[str, float], ...]
    """By rank: TIMED parts, each begun by all ranks at once, and INSIDE."""
    fastest: tuple[dict[str, float], ...]
    """The same, the least of all repeats: the nearest to what a machine would take that is idle."""
    spread: tuple[dict[str, float], ...]
    """The same: half of the range between the quartiles, over the median."""
    step_ms: float
    """A whole step from where ids have come, on the slowest rank, nothing waiting in between."""
    step_fastest: float
    """The same, the least."""
    step_spread: float
    bytes: tuple[dict[str, int], ...]
    """By rank: ids it got, outputs it looked up, gradients it summed, weights and optimizer."""
    repeats: int

    @property
    def total_ms(self) -> float:
        """What TorchRec rates, its parts added up, on the busiest rank."""
        return _rated(self.ms)

    @property
    def total_fastest(self) -> float:
        """The same, each part at its fastest."""
        return _rated(self.fastest)


def measure(
    file: PlanFile, world: World, *, repeats: int, warmup: int = 2, seed: int = 0
) -> Measured:
    """Every rank must call this; every rank gets all of it."""
    return combine([time_plan(file, world, repeats=repeats, warmup=warmup, seed=seed)])


@dataclass(frozen=True, kw_only=True, slots=True)
class RawTimings:
    """Raw seconds of one go: [repeats][rank]."""

    parts: list[list[dict[str, float]]]
    steps: list[list[float]]
    busy: list[list[float]]
    """Of the rank's processors in these steps."""
    bytes: list[dict[str, int]]


def time_plan(
    file: PlanFile,
    world: World,
    *,
    repeats: int,
    warmup: int,
    seed: int,
    whole: bool = True,
    parts: bool = True,
) -> RawTimings:
    """Build the tables, run steps and free them. Every rank gets all ranks' times.

    `whole`: run whole steps; `parts`: and steps in parts.
    """
    tables = ShardedTables(file, world, seed)
    mine: list[dict[str, float]] = []
    steps: list[tuple[float, float]] = []
    for n in range(warmup + repeats):
        step = tables.step() if whole else (0.0, 0.0)
        parted = tables.parts() if parts else {}
        if n >= warmup:
            steps.append(step)
            mine.append(parted)
    own = (mine, steps, tables.bytes | tables.local_bytes())
    every: list[tuple[list[dict[str, float]], list[tuple[float, float]], dict[str, int]]] = [
        own
    ] * world.size
    dist.all_gather_object(every, own, group=world.control)
    whole_steps = list(zip(*(steps for _, steps, _ in every), strict=True))
    return RawTimings(
        parts=[list(row) for row in zip(*(parted for parted, _, _ in every), strict=True)],
        steps=[[took for took, _ in row] for row in whole_steps],
        busy=[[busy for _, busy in row] for row in whole_steps],
        bytes=[bytes_ for _, _, bytes_ in every],
    )


def combine(timings: Sequence[RawTimings]) -> Measured:
    """Several goes at one plan, all their repeats together."""
    parts = [row for one in timings for row in one.parts]
    slowest = [max(row) * 1e3 for one in timings for row in one.steps]
    names = (*TIMED, *INSIDE)
    by_rank = [
        {name: [row[rank][name] * 1e3 for row in parts] for name in names}
        for rank in range(len(parts[0]))
    ]
    return Measured(
        ms=tuple({name: median(all_) for name, all_ in rank.items()} for rank in by_rank),
        fastest=tuple({name: min(all_) for name, all_ in rank.items()} for rank in by_rank),
        spread=tuple({name: _spread(all_) for name, all_ in rank.items()} for rank in by_rank),
        step_ms=median(slowest),
        step_fastest=min(slowest),
        step_spread=_spread(slowest),
        bytes=tuple(timings[0].bytes),
        repeats=len(parts),
    )


def _rated(ranks: Sequence[dict[str, float]]) -> float:
    return max(sum(rank[part] for part in TIMED[:4]) for rank in ranks)


def _spread(values: Sequence[float]) -> float:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float((high - low) / 2 / middle) if middle else 0.0
