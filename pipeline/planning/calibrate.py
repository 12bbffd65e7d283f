"""Calibrates a cluster: measures small plans on it and fits its constants."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from time import perf_counter

import torch

from embeddings.planner.calibration.micro_plans import micro_plans
from embeddings.planner.calibration.observed import Fit, Observed
from embeddings.planner.calibration.until_it_fits import calibrate_until_it_fits
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.plans.plan_file import PlanFile
from pipeline.io.errors import UserError
from pipeline.planning.measure import RawTimings, combine, time_plan
from pipeline.ranks.world import World


def measure_all(
    plans: Sequence[PlanFile],
    world: World,
    *,
    rounds: int,
    repeats: int,
    first: int = 0,
    whole: bool = True,
    parts: bool = True,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> list[list[RawTimings]]:
    """Measure every plan in every round, from round `first` on, in another order each time.

    Other work on the machine then disturbs all of them alike. `on_progress` gets the round and
    the number of its plans done. Every rank must call this.
    """
    timings: list[list[RawTimings]] = [[] for _ in plans]
    for turn in range(first, first + rounds):
        order = random.Random(turn).sample(range(len(plans)), len(plans))
        for done, n in enumerate(order):
            one = time_plan(
                plans[n], world, repeats=repeats, warmup=1, seed=0, whole=whole, parts=parts
            )
            timings[n].append(one)
            on_progress(turn, done + 1)
    return timings


def calibrate_here(
    world: World,
    cluster: Cluster,
    *,
    batch_size: int,
    rounds: int,
    repeats: int,
    on_progress: Callable[[int, int], None],
    on_retry: Callable[[str, int], None],
) -> tuple[Cluster, tuple[Fit, ...]]:
    """`cluster` with the constants of these ranks, memory and what cannot be measured as given.

    Where they fit badly, more rounds are measured: see `calibrate_until_it_fits`. Every rank must
    call this. UserError for one rank alone, or if no constants fit.
    """
    check_shape(cluster, world)
    if world.size < 2:
        raise UserError("cluster: one rank exchanges nothing; give a cluster of 2 ranks or more")
    # Use the fastest times, because other work on the machine only adds time.
    plans = list(micro_plans(cluster, batch_size))
    timings: list[list[RawTimings]] = [[] for _ in plans]

    def observe(more: int) -> list[Observed]:
        new = measure_all(
            plans,
            world,
            rounds=more,
            repeats=repeats,
            first=len(timings[0]),
            whole=False,
            on_progress=on_progress,
        )
        for every, goes in zip(timings, new, strict=True):
            every.extend(goes)
        return [
            Observed(file=plan, ms=combine(every).fastest)
            for plan, every in zip(plans, timings, strict=True)
        ]

    try:
        found, fits = calibrate_until_it_fits(observe, cluster, rounds, on_retry)
    except ValueError as error:
        busy = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
        raise UserError(f"{error} ({busy})") from error
    # CPUs have only one memory.
    link = _host_device(world.device) if found.device == "cuda" else found.ddr_bw
    return found.model_copy(update={"host_device_bw": link}), fits


def check_shape(cluster: Cluster, world: World) -> None:
    """Raise UserError unless these ranks match `cluster`."""
    if cluster.device != world.device.type:
        raise UserError(
            f"device: {cluster.device} in the cluster, {world.device.type} on the ranks here; "
            "run on this kind of device, or plan for this machine"
        )
    if (cluster.ranks, cluster.devices_per_host) != (world.size, world.local_size):
        raise UserError(
            f"ranks: {cluster.ranks} on {cluster.hosts} hosts in the cluster, {world.size} with "
            f"{world.local_size} per host here; start that many with torchrun, or run the command "
            "without torchrun to start them"
        )


def _host_device(device: torch.device) -> float:
    """Return the best GB/s of several copies of pinned memory to the device."""
    source = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device=device)
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize(device)
        began = perf_counter()
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize(device)
        best = max(best, source.nbytes / (perf_counter() - began) / 1e9)
    return best
