"""A model trained under each plan, and taken on under others, over the ranks that are up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torchrec.distributed.types import ShardedTensor

from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.save import Checkpoints
from pipeline.checkpoint.table_state import table_state
from pipeline.ranks.world import World, this_world
from pipeline.training.build import build
from pipeline.training.parallelize import Parallel, table_of
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.every_plan import SCHEMA, Way, batch, config, write_plan
from tests.integration.sharding.one_process import OneProcess

FIRST, MORE = 3, 2
"""Steps before a checkpoint, and after."""

Saved = tuple[int, Way]
"""A checkpoint: the number of ranks that saved it, and their plan."""


@dataclass(kw_only=True)
class State:
    """A model whole, whatever its shards: losses since it began or came back [steps, tasks], by
    table weights and accumulators [R, D], and the tower's parameters by name."""

    losses: Tensor
    weights: dict[str, Tensor]
    sums: dict[str, Tensor]
    tower: dict[str, Tensor]


@dataclass(kw_only=True)
class Run:
    """What ranks did: under each plan; then as they came back, and after more steps."""

    trained: dict[Way, State]
    back: dict[tuple[Saved, Way], State]
    on: dict[tuple[Saved, Way], State]


def widths(way: Way) -> dict[str, int]:
    """By table, the columns that share an accumulator."""
    return {table.name: way.of(table)[2] for table in resolve_features(config(), SCHEMA).tables}


def over_ranks(
    rank: int, size: int, folder: Path, ways: tuple[Way, ...], moves: tuple[tuple[Saved, Way], ...]
) -> Run | None:
    """Train under each of `ways` and save in `folder`; then each of `moves`, from what is there.

    Four ranks are two hosts with two each. Only rank 0 returns what it found.
    """
    local = 2 if size == 4 else size
    os.environ |= {"LOCAL_WORLD_SIZE": str(local), "LOCAL_RANK": str(rank % local)}
    world = this_world()
    run = Run(trained={}, back={}, on={})
    for way in ways:
        parallel, checkpoints = _open(folder, world, way, (size, way))
        run.trained[way] = _train(parallel, world, 0, FIRST)
        with checkpoints:
            progress = Progress(step=FIRST, source={"epoch": 0})
            checkpoints.save(parallel.model, parallel.optimizer, progress)
    for saved, way in moves:
        parallel, checkpoints = _open(folder, world, way, saved)
        assert checkpoints.load_latest(parallel.model, parallel.optimizer) is not None
        run.back[saved, way] = _state(parallel, torch.empty(0))
        run.on[saved, way] = _train(parallel, world, FIRST, MORE)
    return run if world.is_first else None


def _open(folder: Path, world: World, way: Way, saved: Saved) -> tuple[Parallel, Checkpoints]:
    plan = folder / f"{world.size} {way}.json"
    if world.is_first:
        write_plan(plan, way, world)
    run = config(plan)
    _, parallel = build(run, resolve_features(run, SCHEMA), world)
    kinds = {(row["sharding_type"], row["compute_kernel"]) for row in parallel.plan["tables"]}
    assert (way.kind, way.kernel) in kinds, kinds
    place = folder / f"{saved[0]} {saved[1]}"
    return parallel, Checkpoints(place, world, run, SCHEMA)


def _train(parallel: Parallel, world: World, first: int, count: int) -> State:
    chosen = resolve_features(config(), SCHEMA)
    pipeline = open_pipeline(parallel, world)
    parallel.model.train()
    batches = iter([batch(step, world, chosen) for step in range(first, first + count)])
    losses = []
    for _ in range(count):
        loss = pipeline.progress(batches).losses_T
        dist.all_reduce(loss)
        losses.append(loss / world.size)
    return _state(parallel, torch.stack(losses))


def _state(parallel: Parallel, losses: Tensor) -> State:
    found = parallel.model.state_dict()
    tables = {name: table_of(name) for name in found}
    weights = {name: value for name, value in found.items() if tables[name] is not None}
    whole = _whole(weights)
    sums = {
        name: value.repeat_interleave(whole[name].shape[1] // value.shape[1], dim=1)
        for name, value in _whole(table_state(parallel.model, parallel.optimizer)).items()
    }
    return State(
        losses=losses,
        weights=_by_table(whole),
        sums=_by_table(sums),
        tower={n: v.detach().clone() for n, v in found.items() if tables[n] is None},
    )


def _by_table(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {str(table_of(name)): value for name, value in values.items()}


def _whole(values: Mapping[str, Tensor | ShardedTensor]) -> dict[str, Tensor]:
    """Put together from all ranks' shards. Every entry must be covered, and once: else NaN."""
    mine = []
    for name, value in values.items():
        if isinstance(value, ShardedTensor):
            size = value.metadata().size
            for shard in value.local_shards():
                offsets = shard.metadata.shard_offsets
                mine.append((name, tuple(size), tuple(offsets), shard.tensor.detach().clone()))
        else:
            mine.append((name, tuple(value.shape), (0,) * value.dim(), value.detach().clone()))
    everyone: list[list[tuple[str, tuple[int, ...], tuple[int, ...], Tensor]]] = [
        [] for _ in range(dist.get_world_size())
    ]
    dist.all_gather_object(everyone, mine)
    found: dict[str, Tensor] = {}
    for name, shape, starts, part in (entry for rank in everyone for entry in rank):
        into = found.setdefault(name, torch.full(shape, torch.nan, dtype=part.dtype))
        place = tuple(slice(a, a + n) for a, n in zip(starts, part.shape, strict=True))
        there = into[place]
        # A replicated table comes from every rank: its copies are one.
        assert bool(there.isnan().all()) or torch.equal(there, part), name
        into[place] = part
    return found


def alone(
    rank: int, size: int, pairs: tuple[tuple[Way, Way | None], ...]
) -> dict[tuple[Way, Way | None], tuple[State, State]]:
    """One process, its accumulators cut into columns as a plan's are, then as the next one's.

    None: as before, but all accumulators lost.
    """
    found = {}
    for first, second in pairs:
        one = OneProcess(config(), this_world(), widths(first))
        before = _state_of(one, one.steps(0, FIRST))
        one.cut(widths(second or first))
        if second is None:
            one.sums = {name: torch.zeros_like(sums) for name, sums in one.sums.items()}
        found[first, second] = before, _state_of(one, one.steps(FIRST, MORE))
    return found


def _state_of(one: OneProcess, losses: Tensor) -> State:
    parts = (one.weights, one.sums, one.tower())
    weights, sums, tower = ({n: v.detach().clone() for n, v in part.items()} for part in parts)
    return State(losses=losses, weights=weights, sums=sums, tower=tower)
