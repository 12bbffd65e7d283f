"""Some steps of a run on the ranks that are up: how long they take, what they send."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import nn

from benchmarks.least_traffic import least_reduced, least_traffic
from benchmarks.tcp_counters import bytes_sent
from benchmarks.traffic import Traffic
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.data.schema import Schema
from pipeline.faults.step_guard import StepGuard
from pipeline.io.errors import UserError
from pipeline.loop.in_flight import InFlight
from pipeline.ranks.world import World
from pipeline.training.build import build
from pipeline.training.dataloader import open_split
from pipeline.training.parallelize import Parallel, table_of
from pipeline.training.replica_groups import ReplicaGroupSync
from pipeline.training.resolve_features import Selection, resolve_features
from pipeline.training.train_pipeline import open_pipeline

_WARMUP = 2
"""Steps before any that count: DDP lays out its buckets anew after the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsMeasured:
    """Sums over all ranks, but for `seconds`, which are the slowest rank's."""

    samples: int
    seconds: float
    processor_seconds: float
    """User and system, of the timed steps."""
    counted: int
    """Samples of the counted steps, to which the bytes belong."""
    sent: dict[str, int]
    """By purpose, as in traffic.py: what collectives were asked to send, at the least."""
    calls: dict[str, int]
    least: dict[str, int]
    """The same of the plan and batch alone, where that says it."""
    on_wire: int
    """Over TCP, headers and the heartbeats of ranks included."""
    plan: dict[str, Any]


def measure_steps(config: Config, world: World, *, timed: int, counted: int) -> StepsMeasured:
    """Train `timed` steps by the clock, then `counted` under `Traffic`; every rank must call this.

    Steps are those of train.py with its guard and flags, but for log, probes and checkpoints.
    UserError where the data have fewer steps.
    """
    chosen = resolve_features(config, Schema.load(config.data.path))
    source = open_split(config, chosen, "train", world, purpose="train")
    needed = _WARMUP + timed + counted
    if source.steps_per_epoch < needed:
        raise UserError(
            f"{config.data.path}: {source.steps_per_epoch} steps in it, and {needed} are needed; "
            "take more rows, or fewer steps"
        )
    step, parallel = build(config, chosen, world)
    guard = StepGuard(step, parallel.optimizer, config.faults, world, chosen.input_columns)
    pipeline = open_pipeline(parallel, world)
    flight = InFlight(world, source)
    sync = ReplicaGroupSync(parallel.model, config.sharding)
    parallel.model.train()
    stream = iter(source)
    # Read ahead: what reading costs is the reader's benchmark's.
    batches = [next(stream) for _ in range(needed)]

    def run(part: Sequence[Batch]) -> None:
        feed = flight.feed(iter(part))
        for n, _ in enumerate(part):
            guard.before_step(n + 1)
            output = pipeline.progress(feed)
            sync.after_step(n + 1, output)
            guard.after_step(n + 1, output)
            guard.take_verdict().read()
            flight.after_step(stop=False, save=False)
        flight.settle()

    run(batches[:_WARMUP])
    dist.barrier(group=world.control)
    began, busy = time.perf_counter(), time.process_time()
    run(batches[_WARMUP : _WARMUP + timed])
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    dist.barrier(group=world.control)
    wire = bytes_sent()
    with Traffic(parallel.model, world) as traffic:
        run(batches[_WARMUP + timed :])
    wire = bytes_sent() - wire
    least = _least(config, chosen, parallel, batches[_WARMUP + timed :], world)
    mine = (seconds, busy, wire, dict(traffic.bytes), dict(traffic.calls), least)
    ranks: list[Any] = [None] * world.size
    dist.all_gather_object(ranks, mine, group=world.control)
    rows = len(batches[0].labels) * world.size
    return StepsMeasured(
        samples=rows * timed,
        seconds=max(rank[0] for rank in ranks),
        processor_seconds=sum(rank[1] for rank in ranks),
        counted=rows * counted,
        on_wire=sum(rank[2] for rank in ranks),
        sent=_sum(rank[3] for rank in ranks),
        calls=_sum(rank[4] for rank in ranks),
        least=_sum(rank[5] for rank in ranks),
        plan=parallel.plan,
    )


def _least(
    config: Config, chosen: Selection, parallel: Parallel, batches: Sequence[Batch], world: World
) -> dict[str, int]:
    """This rank's part of the least, over `batches`."""
    unpooled = [table.name for table in chosen.tables if table.unpooled]
    total: Counter[str] = Counter()
    width = {"fp32": 4, "fp16": 2, "bf16": 2}
    for batch in batches:
        crossing = least_traffic(
            parallel.plan,
            batch.sparse,
            world.rank,
            unpooled=unpooled,
            forward_bytes=width[config.sharding.qcomm_forward],
            backward_bytes=width[config.sharding.qcomm_backward],
        )
        total.update(crossing)
    for purpose, size in reduced_bytes(parallel.model, parallel.plan).items():
        # All ranks' together; a rank's part is its share.
        total[purpose] = least_reduced(size, world.size) * len(batches) // world.size
    return dict(total)


def reduced_bytes(model: nn.Module, plan: dict[str, Any]) -> dict[str, int]:
    """Bytes of gradient that every rank has of what all hold, by purpose."""
    copied = {table["table"] for table in plan["tables"] if not table["shards"]}
    found = {"tables": 0, "tower": 0}
    for name, parameter in model.named_parameters():
        table = table_of(name)
        if table in copied or (table is None and parameter.requires_grad):
            found["tower" if table is None else "tables"] += parameter.nbytes
    return found


def _sum(parts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
