"""Builds the problem of the search: what rules, layouts and memory leave of all options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torchrec.distributed.planner.types import Topology

from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.problem.limits import Limits
from embeddings.planner.problem.options import MEMORIES, Options, amounts
from embeddings.planner.problem.problem import (
    EVERYWHERE,
    FREE,
    HOST_COLUMNS,
    HOST_ROWS,
    LAYOUTS,
    Problem,
    shard_ms,
    sites_of,
)
from embeddings.planner.problem.speeds import slowest_ms, speeds_of


class NoPlacement(ValueError):
    """The rules leave no placement for a table or a group of tables."""


def build_problem(options: Options, storage: Topology, limits: Limits) -> Problem:
    """Build the problem. `storage`: ranks with the memory left for tables. Raises NoPlacement."""
    free = np.array([amounts(device.storage) for device in storage.devices], np.int64).T
    grouped = {table for group in limits.groups for table in group}
    alone = [(t,) for t in range(len(options.tables)) if t not in grouped]
    members = tuple(sorted([*alone, *limits.groups]))
    layout = np.array([LAYOUTS[o.sharding_type] for o in options.options], np.int64)
    time = shard_ms(options)
    placements: list[tuple[int, ...]] = []
    first = [0]
    local = storage.intra_group_size
    for tables in members:
        mine = _joint(options, limits, layout, tables)
        if tables[0] in limits.pins:
            mine = _on_ranks(mine, limits.pins[tables[0]], options, layout, local, tables[0])
        if any(table in limits.hosts for table in tables):
            mine = _on_one_host(mine, options, layout, storage.world_size // local, tables[0])
        mine = _fitting_alone(mine, options, layout, free, local) or mine
        placements += _undominated(mine, options, layout, time)
        first.append(len(placements))
    lead = np.array([placement[0] for placement in placements], np.int64)
    memory = np.array(
        [options.memory[list(placement)].sum(axis=0) for placement in placements], np.int64
    )
    memory = memory.reshape(len(placements), -1, len(MEMORIES))
    assert (memory[:, :1] >= memory).all(), "a later shard is larger than the first"
    ms = np.array([time[list(placement)].sum(axis=0) for placement in placements], np.float64)
    pins = tuple(limits.pins.get(tables[0]) for tables in members)
    speeds = None
    least = ms[:, 0]
    if ms.shape[1] > 1:
        counts = options.counts[lead]
        speeds = speeds_of(options.kind, ms, free, local, memory, counts)
        least = slowest_ms(speeds, sites_of(layout[lead], np.array(first, np.int64), pins))
    return Problem(
        hosts=storage.world_size // local,
        local=local,
        free=free,
        members=members,
        first=np.array(first, np.int64),
        options=tuple(placements),
        types=tuple(options.options[n].sharding_type for n in lead),
        layout=layout[lead],
        blocks=options.blocks[lead],
        counts=options.counts[lead],
        time=least,
        memory=memory,
        pins=pins,
        host_group=tuple(
            next((limits.hosts[table] for table in tables if table in limits.hosts), -1)
            for tables in members
        )
        if limits.hosts
        else (),
        speeds=speeds,
    )


def _joint(
    options: Options, limits: Limits, layout: IntArray, tables: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Placements for tables that stay together: of one type and kernel, in equally many blocks."""
    allowed = [[n for n in options.of(t) if limits.allows(options.options[n])] for t in tables]
    for table, mine in zip(tables, allowed, strict=True):
        if not mine:
            raise NoPlacement(limits.nothing_left(options, table))
    if len(tables) == 1:
        return [(n,) for n in allowed[0]]
    by_shape: list[dict[tuple[Any, ...], int]] = []
    for mine in allowed:
        shapes = {}
        for n in mine:
            if layout[n] in (FREE, HOST_COLUMNS):
                option = options.options[n]
                shapes[option.sharding_type, option.kernel, int(options.blocks[n])] = n
        by_shape.append(shapes)
    common = [shape for shape in by_shape[0] if all(shape in other for other in by_shape[1:])]
    if not common:
        names = ", ".join(options.tables[t].name for t in tables)
        raise NoPlacement(
            f"group of {names}: they have no common table-wise or column-wise option (kernel and "
            "number of shards); allow one or remove the group"
        )
    return [tuple(shapes[shape] for shapes in by_shape) for shape in common]


def _on_ranks(
    placements: Sequence[tuple[int, ...]],
    ranks: tuple[int, ...],
    options: Options,
    layout: IntArray,
    local: int,
    table: int,
) -> list[tuple[int, ...]]:
    """Return the placements whose shards can be on exactly these ranks, in this order."""
    fitting = []
    for placement in placements:
        shards = int(options.blocks[placement[0]] * options.counts[placement[0]].sum())
        hosts = [rank // local for rank in ranks]
        kind = layout[placement[0]]
        if shards != len(ranks) or kind == EVERYWHERE:
            continue
        if kind == HOST_COLUMNS and len(set(hosts)) > 1:
            continue
        if kind == HOST_ROWS and any(rank % local != i % local for i, rank in enumerate(ranks)):
            continue
        if kind == HOST_ROWS and any(hosts[i] != hosts[i - i % local] for i in range(len(ranks))):
            continue
        fitting.append(placement)
    if not fitting:
        name = options.tables[table].name
        shown = ", ".join(map(str, ranks))
        raise NoPlacement(
            f"table {name!r}: no allowed option has its shards on ranks {shown} (one rank per "
            "shard; types within a host need its ranks in order); give other ranks or allow more "
            "types"
        )
    return fitting


def _on_one_host(
    placements: Sequence[tuple[int, ...]],
    options: Options,
    layout: IntArray,
    hosts: int,
    table: int,
) -> list[tuple[int, ...]]:
    """The placements that one host can have whole."""
    fitting = [
        placement
        for placement in placements
        if hosts == 1
        or layout[placement[0]] in (FREE, HOST_COLUMNS)
        or (layout[placement[0]] == HOST_ROWS and options.blocks[placement[0]] == 1)
    ]
    if not fitting:
        name = options.tables[table].name
        raise NoPlacement(
            f"table {name!r}: 'together: host' and no allowed option lies on one host; allow "
            "table_wise, column_wise, table_column_wise or table_row_wise"
        )
    return fitting


def _fitting_alone(
    placements: Sequence[tuple[int, ...]],
    options: Options,
    layout: IntArray,
    free: IntArray,
    local: int,
) -> list[tuple[int, ...]]:
    """Return the placements that fit on empty ranks. `free`: [3, R]."""
    rooms = np.unique(free, axis=1)
    hosts = free.reshape(len(free), -1, local)

    def fits(placement: tuple[int, ...]) -> bool:
        first = options.memory[list(placement), 0].sum(axis=0)[:, None]  # no shard is larger
        kind = layout[placement[0]]
        if rooms.shape[1] == 1 or kind not in (EVERYWHERE, HOST_ROWS):
            return bool((rooms >= first).all(axis=0).any())
        every = np.sum([options.shard_memory(n) for n in placement], axis=0)
        if kind == EVERYWHERE:
            return bool((every <= free.T).all())
        return bool((hosts >= every[:local].T[:, None]).all(axis=(0, 2)).any())

    return [placement for placement in placements if fits(placement)]


def _undominated(
    placements: Sequence[tuple[int, ...]], options: Options, layout: IntArray, time: FloatArray
) -> list[tuple[int, ...]]:
    """Remove placements dominated by another one that can be on the same ranks."""
    kept: list[tuple[tuple[int, ...], tuple[int, int], tuple[float, ...]]] = []
    rows = []
    for placement in placements:
        shape = (int(layout[placement[0]]), int(options.blocks[placement[0]]))
        worst = options.memory[list(placement)].sum(axis=0)
        slow = time[list(placement)].sum(axis=0).tolist()
        cost = (*slow, *map(int, worst.reshape(-1)))
        rows.append((placement, shape, cost))
    for placement, shape, cost in rows:
        if any(_freer(s, shape) and _covers(c, cost) for _, s, c in kept):
            continue
        kept = [k for k in kept if not (_freer(shape, k[1]) and _covers(cost, k[2]))]
        kept.append((placement, shape, cost))
    return [placement for placement, _, _ in kept]


def _freer(shape: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the blocks of `shape` can be on all ranks on which those of `other` can."""
    return shape == other or (shape[1] == other[1] and (shape[0], other[0]) == (FREE, HOST_COLUMNS))


def _covers(better: tuple[float, ...], worse: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(better, worse, strict=True))
