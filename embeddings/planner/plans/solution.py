"""Solutions: TorchRec's ShardingPlan and its predicted cost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from torchrec.distributed.planner.planners import to_sharding_plan
from torchrec.distributed.planner.types import Perf, Shard, ShardingOption, Storage
from torchrec.distributed.types import EmbeddingModuleShardingPlan, ParameterSharding, ShardingPlan

from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.problem.options import MEMORIES, PARTS, Options
from embeddings.planner.problem.pricing import Priced
from embeddings.planner.problem.problem import FREE, HOST_COLUMNS, Problem
from embeddings.planner.search.search import SearchResult, Start


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenOption:
    """A table's option, the ranks of its shards, and the cost of a shard on each of K kinds of
    devices."""

    table: str
    path: str
    sharding_type: str
    kernel: str
    width: int
    ranks: tuple[int, ...]
    perf: tuple[tuple[float, ...], ...]
    """[K, 6] milliseconds of a shard, by PARTS."""
    sync: float
    """Milliseconds of a shard's replicas."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """A plan and its predicted cost, in milliseconds per step and bytes."""

    plan: ShardingPlan
    options: list[ShardingOption]
    """Chosen options as TorchRec's objects, with the cost of every shard."""
    choices: tuple[ChosenOption, ...]
    time: float
    """TorchRec's rating: milliseconds of the busiest rank, including replicas."""
    lower_bound: float
    """Lower bound for all plans under the same rules."""
    perf: FloatArray
    """[R, 6] milliseconds by rank and PARTS."""
    sync: FloatArray
    """[R] milliseconds of replicas."""
    memory: IntArray
    """[R, 3] used bytes by rank and MEMORIES."""
    room: IntArray
    """[R, 3] available bytes for tables."""
    rounds: int
    """Rounds of the search."""
    cut_off: bool
    """Whether the time limit ended the search, so that another run may find another plan."""

    def summary(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "time_ms": self.time,
            "lower_bound_ms": self.lower_bound,
            "search": {"rounds": self.rounds, "cut_off": self.cut_off},
            "tables": [
                {
                    "table": choice.table,
                    "sharding_type": choice.sharding_type,
                    "compute_kernel": choice.kernel,
                    "width": choice.width,
                    "ranks": list(choice.ranks),
                    "shard_ms": [dict(zip(PARTS, perf, strict=True)) for perf in choice.perf],
                }
                for choice in self.choices
            ],
            "ranks": [
                {
                    "ms": dict(zip(PARTS, perf, strict=True)),
                    "sync_ms": sync,
                    "bytes": dict(zip(MEMORIES, memory, strict=True)),
                    "room": dict(zip(MEMORIES, room, strict=True)),
                }
                for perf, sync, memory, room in zip(
                    self.perf.tolist(),
                    self.sync.tolist(),
                    self.memory.tolist(),
                    self.room.tolist(),
                    strict=True,
                )
            ],
        }


def build_plan(priced: Priced, found: SearchResult) -> Solution:
    """Return TorchRec's objects for the solution."""
    assert not found.missing
    options, problem = priced.options, priced.problem
    chosen = _chosen(problem, found)
    world = problem.ranks
    perf, sync = np.zeros((world, len(PARTS))), np.zeros(world)
    memory = np.zeros((world, len(MEMORIES)), np.int64)
    time = np.zeros(world)
    stock: list[ShardingOption] = []
    choices = []
    for table, model_table in enumerate(options.tables):
        n, ranks = chosen[table]
        option = options.options[n]
        each = [Perf(*row) for row in options.perf[n].tolist()]
        kinds = options.kind[ranks].tolist()
        needs = options.shard_memory(n)
        np.add.at(perf, ranks, options.perf_on(n, ranks))
        np.add.at(time, ranks, [each[kind].total + options.sync[n] for kind in kinds])
        np.add.at(sync, ranks, options.sync[n])
        np.add.at(memory, ranks, needs)
        sizes, offsets = priced.enumerator.sizes_and_offsets(model_table, option)
        shards = [
            Shard(size=size, offset=offset, perf=each[kind], storage=Storage(*need), rank=rank)
            for size, offset, need, rank, kind in zip(
                sizes, offsets, needs.tolist(), ranks.tolist(), kinds, strict=True
            )
        ]
        stock.append(priced.enumerator.stock_option(model_table, option, shards))
        choices.append(_choice(options, n, ranks))
    return Solution(
        plan=_without_cache_stats(to_sharding_plan(stock, priced.topology)),
        options=stock,
        choices=tuple(choices),
        time=float(time.max()),
        lower_bound=found.lower_bound,
        perf=perf,
        sync=sync,
        memory=memory,
        room=problem.free.T,
        rounds=found.rounds,
        cut_off=found.cut_off,
    )


def _chosen(problem: Problem, found: SearchResult) -> dict[int, tuple[int, IntArray]]:
    """By table: its option, and a rank a shard."""
    return {
        table: (n, found.ranks[item])
        for item, placement in enumerate(found.placements)
        for table, n in zip(problem.members[item], problem.options[placement], strict=True)
    }


def _choice(options: Options, n: int, ranks: IntArray) -> ChosenOption:
    option = options.options[n]
    model_table = options.tables[option.table]
    return ChosenOption(
        table=model_table.name,
        path=model_table.path,
        sharding_type=option.sharding_type,
        kernel=option.kernel,
        width=option.width,
        ranks=tuple(ranks.tolist()),
        perf=tuple(map(tuple, options.perf[n].tolist())),
        sync=float(options.sync[n]),
    )


def _without_cache_stats(plan: ShardingPlan) -> ShardingPlan:
    """Return the cache parameters to build: without statistics, and only for cached rows."""
    for module in plan.plan.values():
        assert isinstance(module, EmbeddingModuleShardingPlan)
        for sharding in module.values():
            cache = sharding.cache_params
            cached = cache and sharding.compute_kernel == "fused_uvm_caching"
            sharding.cache_params = dataclasses.replace(cache, stats=None) if cached else None
    return plan


def start_from(priced: Priced, plan: ShardingPlan) -> Start:
    """Placements and ranks of the items that an earlier plan has and that may still be so."""
    before: dict[str, ParameterSharding] = {}
    for module in plan.plan.values():
        assert isinstance(module, EmbeddingModuleShardingPlan)
        before.update(module)
    problem, options = priced.problem, priced.options
    start: dict[int, tuple[int, IntArray]] = {}
    for item, members in enumerate(problem.members):
        known = [before.get(options.tables[table].name) for table in members]
        if any(sharding is None for sharding in known):
            continue
        ranks = {tuple(sharding.ranks or ()) for sharding in known if sharding}
        if len(ranks) != 1 or problem.pins[item] not in (None, *ranks):
            continue
        places = np.array(ranks.pop(), np.int64)
        if not len(places) or places.max() >= problem.ranks:
            continue
        for placement in problem.placements(item):
            if all(
                _same(priced, n, sharding, len(places))
                for n, sharding in zip(problem.options[placement], known, strict=True)
                if sharding
            ) and _laid_out(problem, placement, places):
                start[item] = (placement, places)
                break
    return start


def _same(priced: Priced, n: int, sharding: ParameterSharding, shards: int) -> bool:
    """Whether option `n` is the plan's option, or an equal one kept instead."""
    option = priced.options.options[n]
    count = int(priced.options.blocks[n] * priced.options.counts[n].sum())
    if count != shards or option.kernel != sharding.compute_kernel:
        return False
    whole_columns = {"table_wise", "column_wise", "table_column_wise"}
    return (
        option.sharding_type == sharding.sharding_type
        or {
            option.sharding_type,
            sharding.sharding_type,
        }
        <= whole_columns
    )


def _laid_out(problem: Problem, placement: int, ranks: IntArray) -> bool:
    """Whether the ranks match the placement's layout in this cluster, whose hosts may differ."""
    kind, local = problem.layout[placement], problem.local
    hosts = ranks // local
    if kind == FREE:
        return True
    if kind == HOST_COLUMNS:
        return len(set(hosts.tolist())) == 1
    rows = len(ranks) // int(problem.blocks[placement])
    wanted = np.arange(len(ranks)) % rows
    if rows == problem.ranks:  # on all of them
        return bool((ranks == wanted).all())
    first = np.repeat(hosts[::rows], rows)
    return rows == local and bool((ranks % local == wanted).all() and (hosts == first).all())
