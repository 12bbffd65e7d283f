"""Measures the steps of a plan on its ranks."""

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

# The measured PARTS: all except prefetch, because caches are not filled ahead of a lookup.
TIMED = tuple(part for part in PARTS if part != "prefetch_compute")
# Additional measured parts, which are included in bwd_comms.
INSIDE = ("all_reduce", "optimizer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Measured times of a plan in milliseconds: medians over repeats, by each rank's clock."""

    ms: tuple[dict[str, float], ...]
    """By rank: TIMED parts, each started by all ranks together, and INSIDE."""
    fastest: tuple[dict[str, float], ...]
    """The same, the minimum over repeats: closest to the time on an idle machine."""
    spread: tuple[dict[str, float], ...]
    """The same, half of the interquartile range divided by the median."""
    step_ms: float
    """A whole step after the exchange of ids, on the slowest rank, without barriers."""
    step_fastest: float
    """The same, the minimum."""
    step_spread: float
    bytes: tuple[dict[str, int], ...]
    """By rank: received ids, looked-up outputs, summed gradients, weights and optimizer."""
    repeats: int

    @property
    def total_ms(self) -> float:
        """TorchRec's rating from measured parts, on the busiest rank."""
        return _rated(self.ms)

    @property
    def total_fastest(self) -> float:
        """The same, with the fastest time of each part."""
        return _rated(self.fastest)


def measure(
    file: PlanFile, world: World, *, repeats: int, warmup: int = 2, seed: int = 0
) -> Measured:
    """Collective; every rank gets all times."""
    return combine([time_plan(file, world, repeats=repeats, warmup=warmup, seed=seed)])


@dataclass(frozen=True, kw_only=True, slots=True)
class RawTimings:
    """Raw seconds of one go: [repeats][rank]."""

    parts: list[list[dict[str, float]]]
    steps: list[list[float]]
    busy: list[list[float]]
    """CPU time of the rank in these steps."""
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
    """Build the tables, run steps and free the tables. Every rank gets the times of all ranks.

    `whole`: run whole steps; `parts`: run steps in parts.
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
    """Combine the repeats of several measurements of a plan."""
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
