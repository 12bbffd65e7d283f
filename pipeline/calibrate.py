"""A cluster's constants from micro-benchmarks on it: small plans, measured and fitted."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

import torch

from embeddings.planner.calibration import Fit, Observed, calibrate
from embeddings.planner.cluster import GIB, Cluster
from embeddings.planner.micro_plans import micro_plans
from embeddings.planner.plan_file import PlanFile
from pipeline.distributed import World
from pipeline.errors import UserError
from pipeline.measure import Taken, combine, take


def this_cluster(world: World) -> Cluster:
    """What the ranks run on, its memory as it is, its bandwidths yet to be measured (1 GB/s)."""
    cuda = world.device.type == "cuda"
    device = torch.cuda.get_device_properties(world.device) if cuda else None
    main = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return Cluster(
        hosts=world.size // world.local_size,
        devices_per_host=world.local_size,
        device="cuda" if cuda else "cpu",
        hbm_gb=device.total_memory / GIB if device else 0.0,
        hbm_bw=1.0 if device else 0.0,
        ddr_gb=main,
        ddr_bw=1.0,
        intra_bw=1.0,
        inter_bw=1.0,
        host_device_bw=_host_device(world.device) if cuda else 1.0,
    )


def measure_all(
    plans: Sequence[PlanFile],
    world: World,
    *,
    rounds: int,
    repeats: int,
    whole: bool = True,
    heard: Callable[[int, int], None] = lambda *_: None,
) -> list[list[Taken]]:
    """Every plan in every round, in another order each time, so that what else the machine does falls on all of them.

    `heard` is told rounds and plans of this round done. Every rank must call this.
    """
    taken: list[list[Taken]] = [[] for _ in plans]
    for turn in range(rounds):
        order = random.Random(turn).sample(range(len(plans)), len(plans))
        for done, n in enumerate(order):
            one = take(plans[n], world, repeats=repeats, warmup=1, seed=0, whole=whole)
            taken[n].append(one)
            heard(turn, done + 1)
    return taken


def calibrate_here(
    world: World,
    *,
    batch_size: int,
    rounds: int,
    repeats: int,
    heard: Callable[[int, int], None] = lambda *_: None,
) -> tuple[Cluster, tuple[Fit, ...]]:
    """Every rank must call this. UserError on one rank alone, or if nothing can be told."""
    if world.size < 2:
        raise UserError("command line: one rank exchanges nothing; give --nproc 2 or more")
    cluster = this_cluster(world)
    plans = list(micro_plans(cluster, batch_size))
    taken = measure_all(plans, world, rounds=rounds, repeats=repeats, whole=False, heard=heard)
    observed = [Observed(file=p, ms=combine(t).ms) for p, t in zip(plans, taken, strict=True)]
    try:
        found, fits = calibrate(observed, cluster)
    except ValueError as error:
        raise UserError(str(error)) from error
    if found.device == "cpu":  # there is one memory
        found = found.model_copy(update={"host_device_bw": found.ddr_bw})
    return found, fits


def _host_device(device: torch.device) -> float:
    """GB/s of a copy of pinned memory to the device, the best of a few."""
    source = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device=device)
    best = 0.0
    for _ in range(5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source, non_blocking=True)
        end.record()
        end.synchronize()
        best = max(best, source.nbytes / start.elapsed_time(end) / 1e6)
    return best
