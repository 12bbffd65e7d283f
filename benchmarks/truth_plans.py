"""Many plans of one model, really different in types and places, for `plan_truth`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embeddings.config import DATA_PARALLEL
from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.table_list import ListedTable, build_module, usage
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.fixed_plan import FixedTable, fixed_plan, repriced
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.search.search import Budget

TW, CW, RW = "table_wise", "column_wise", "row_wise"
TWRW, GRID = "table_row_wise", "grid_shard"


def model(count: int, seed: int) -> list[ListedTable]:
    """Rows from 300 to 100,000, 16 to 256 wide, 1 to 50 ids a sample: as uneven as tables are."""
    draw = np.random.default_rng(seed)
    return [
        ListedTable(
            name=f"table_{i}",
            rows=int(10 ** draw.uniform(2.5, 5)),
            dim=int(2 ** draw.integers(4, 9)),
            pooling_factor=round(float(10 ** draw.uniform(0, 1.7)), 1),
        )
        for i in range(count)
    ]


def lay(table: ListedTable, kind: str, rank: int, cluster: Cluster) -> FixedTable:
    """A table as `kind`, its first shard on `rank` if it may be anywhere."""
    world, local = cluster.ranks, cluster.devices_per_host
    narrow = table.dim // 2 if kind in (CW, GRID) else table.dim
    host = rank // local * local
    ranks = {
        TW: [rank],
        CW: [rank, (rank + 1) % world],
        RW: list(range(world)),
        TWRW: list(range(host, host + local)),
        GRID: list(range(host, host + local)) * 2,
        DATA_PARALLEL: list(range(world)),
    }[kind]
    return FixedTable(table=table, sharding_type=kind, width=narrow, ranks=tuple(ranks))


def plans(
    tables: Sequence[ListedTable], stock: Cluster, own: Cluster, batch_size: int, seed: int
) -> dict[str, PlanFile]:
    """Plans really different in types and places."""
    draw = np.random.default_rng(seed)
    world, count = stock.ranks, len(tables)
    work = np.array([t.dim * float(np.mean(t.pooling_factor)) for t in tables])
    order = np.argsort(-work)
    found: dict[str, list[FixedTable]] = {}

    def put(name: str, kinds: Sequence[str], ranks: Sequence[int]) -> None:
        found[name] = [
            lay(t, k, int(r), stock) for t, k, r in zip(tables, kinds, ranks, strict=True)
        ]

    even = balanced(work, world)
    turns = [i % world for i in range(count)]
    for kind in (TW, CW, RW, TWRW, GRID, DATA_PARALLEL):
        put(f"all {kind}", [kind] * count, even)
    put("table_wise in turns", [TW] * count, turns)
    put("table_wise on one rank", [TW] * count, [0] * count)
    put("column_wise, odd", [CW] * count, turns)
    for share in (0.6, 0.75, 0.9):
        ranks = np.where(np.cumsum(work[order]) <= share * work.sum(), 0, world - 1)
        put(f"table_wise, {share:.0%} on one rank", [TW] * count, ranks[np.argsort(order)].tolist())
    small = np.array([t.rows for t in tables]) < 10_000
    put("small ones copied, table_wise", np.where(small, DATA_PARALLEL, TW).tolist(), even)
    put("small ones copied, row_wise", np.where(small, DATA_PARALLEL, RW).tolist(), even)
    put("small ones copied, one rank", np.where(small, DATA_PARALLEL, TW).tolist(), [0] * count)
    heavy = work >= np.median(work)
    put("heavy ones row_wise", np.where(heavy, RW, TW).tolist(), even)
    put("heavy ones row_wise, rest on one", np.where(heavy, RW, TW).tolist(), [0] * count)
    put("heavy ones column_wise", np.where(heavy, CW, TW).tolist(), even)
    put("heavy ones in a grid", np.where(heavy, GRID, TW).tolist(), even)
    put("light ones row_wise", np.where(heavy, TW, RW).tolist(), even)
    for n in range(3):
        put(f"table_wise by chance {n}", [TW] * count, draw.integers(0, world, count).tolist())
    for n in range(5):
        kinds = draw.choice(
            [TW, CW, RW, TWRW, GRID, DATA_PARALLEL], count, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]
        )
        big = np.array([t.rows for t in tables]) > 50_000  # copies of these take all the time
        kinds = np.where(big & (kinds == DATA_PARALLEL), TW, kinds)
        put(f"anything {n}", kinds.tolist(), draw.integers(0, world, count).tolist())
    made = {name: fixed_plan(given, stock, batch_size) for name, given in found.items()}
    for name, cluster in (("found, stock", stock), ("found, calibrated", own)):
        made[name] = repriced(best(tables, cluster, batch_size), stock)
    return made


def balanced(work: Any, world: int) -> list[int]:
    """The heaviest first, each to the least loaded rank."""
    load = np.zeros(world)
    ranks = [0] * len(work)
    for i in np.argsort(-work):
        ranks[i] = int(load.argmin())
        load[ranks[i]] += work[i]
    return ranks


def best(tables: Sequence[ListedTable], cluster: Cluster, batch_size: int) -> PlanFile:
    request = PlanRequest(
        module=build_module(tables), cluster=cluster, batch_size=batch_size, usage=usage(tables)
    )
    solution = find_plan(request, Budget(rounds=20_000, seconds=30, seed=0))
    return describe_plan(request, solution, tables, 0)
