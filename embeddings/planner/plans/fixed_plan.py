"""Plans with a given placement of each table, and their predicted cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.table_list import ListedTable, build_module, usage
from embeddings.planner.inputs.torchrec_log import torchrec_silenced
from embeddings.planner.plans.describe import ranges, runs_of_equal
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile, PredictedRank
from embeddings.planner.problem.options import MEMORIES, PARTS, Options, amounts
from embeddings.planner.problem.pricing import all_options, reserve
from embeddings.planner.problem.problem import rated


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedTable:
    """Placement of a table: the rank of every shard, in order, and columns per shard (`width`)."""

    table: ListedTable
    sharding_type: str
    width: int
    ranks: tuple[int, ...]
    kernel: str = ""
    """Compute kernel; '': fused, or dense for data-parallel tables."""
    path: str = ""
    """Path of its collection in the model; '': that of `build_module`."""


def fixed_plan(fixed: Sequence[FixedTable], cluster: Cluster, batch_size: int) -> PlanFile:
    """Return the plan file with TorchRec's prediction. `batch_size`: rows per rank.

    Raises ValueError for a table that cannot be sharded like this.
    """
    tables = [one.table for one in fixed]
    known = {
        name: _only(constraints, one)
        for (name, constraints), one in zip(usage(tables).items(), fixed, strict=True)
    }
    module = build_module(tables)
    request = PlanRequest(module=module, cluster=cluster, batch_size=batch_size, usage=known)
    with torchrec_silenced():
        enumerator, options = all_options(request)
        room = [amounts(device.storage) for device in reserve(request).devices]
    found = {options.tables[n].name: n for n in range(len(options.tables))}
    perf = np.zeros((cluster.ranks, len(PARTS)))
    memory = np.zeros((cluster.ranks, len(MEMORIES)), np.int64)
    placed = []
    for one in fixed:
        n = _the_option(options, found[one.table.name], one)
        option = options.options[n]
        model_table = options.tables[found[one.table.name]]
        sizes = [size[0] for size in enumerator.sizes_and_offsets(model_table, option)[0]]
        placed.append(_placed(one, options, n, sizes))
        ranks = np.array(one.ranks, np.int64)
        np.add.at(perf, ranks, options.perf_on(n, ranks))
        np.add.at(memory, ranks, options.shard_memory(n))
    return PlanFile(
        cluster=cluster,
        batch_size=batch_size,
        seed=0,
        rounds=0,
        cut_off=False,
        time_ms=float(rated(perf).max()),
        lower_bound_ms=0.0,
        tables=tuple(placed),
        ranks=tuple(
            PredictedRank(
                ms=dict(zip(PARTS, perf[rank].tolist(), strict=True)),
                bytes=dict(zip(MEMORIES, memory[rank].tolist(), strict=True)),
                room=dict(zip(MEMORIES, room[rank], strict=True)),
            )
            for rank in range(cluster.ranks)
        ),
    )


def _placed(one: FixedTable, options: Options, n: int, sizes: list[int]) -> PlacedTable:
    """The table by its option `n`, whose shards have `sizes` rows. ValueError for other ranks."""
    if len(sizes) != len(one.ranks):
        raise ValueError(
            f"table {one.table.name!r}: {len(one.ranks)} ranks for {len(sizes)} shards"
        )
    option = options.options[n]
    return PlacedTable(
        table=one.table,
        path=one.path or options.tables[option.table].path,
        sharding_type=option.sharding_type,
        compute_kernel=option.kernel,
        width=option.width,
        rows=runs_of_equal(sizes[: len(sizes) // int(options.blocks[n])]),
        ranks=ranges(one.ranks),
        shard_ms=tuple(map(tuple, options.perf[n].tolist())),
    )


def repriced(file: PlanFile, cluster: Cluster) -> PlanFile:
    """Return the same plan, predicted with the constants of another cluster.

    Raises ValueError if ranks, hosts or devices differ.
    """
    before = file.cluster
    for field in ("device", "hosts", "devices_per_host"):
        if getattr(before, field) != getattr(cluster, field):
            raise ValueError(
                f"{field}: {getattr(cluster, field)} in the cluster and {getattr(before, field)} "
                "in the plan; give a cluster of the plan's shape, or plan again"
            )
    fixed = [
        FixedTable(
            table=placed.table,
            sharding_type=placed.sharding_type,
            width=placed.width,
            ranks=tuple(placed.rank_list()),
            kernel=placed.compute_kernel,
            path=placed.path,
        )
        for placed in file.tables
    ]
    new = fixed_plan(fixed, cluster, file.batch_size)
    kept = {"rules": file.rules, "seed": file.seed, "rounds": file.rounds, "cut_off": file.cut_off}
    return new.model_copy(update=kept)


def _only(known: ParameterConstraints, one: FixedTable) -> ParameterConstraints:
    """Return constraints that leave the fixed type and kernel, and at least these columns."""
    split = one.width < one.table.dim
    return dataclasses.replace(
        known,
        sharding_types=[one.sharding_type],
        compute_kernels=[one.kernel] if one.kernel else None,
        min_partition=one.width if split else None,
    )


def _the_option(options: Options, table: int, one: FixedTable) -> int:
    for n in options.of(table):
        option = options.options[n]
        kernels = (one.kernel,) if one.kernel else ("fused", "dense")
        if option.width == one.width and option.kernel in kernels:
            return n
    raise ValueError(
        f"table {one.table.name!r}: no {one.sharding_type} shards of {one.width} columns; give a "
        "width that divides its own"
    )
