"""Small plans that identify a cluster's constants."""

from __future__ import annotations

from collections.abc import Iterator

from torchrec.distributed.types import ShardingType

from embeddings.config import DATA_PARALLEL
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.fixed_plan import FixedTable, fixed_plan
from embeddings.planner.plans.plan_file import PlanFile

TW, CW = ShardingType.TABLE_WISE.value, ShardingType.COLUMN_WISE.value
RW, TWRW = ShardingType.ROW_WISE.value, ShardingType.TABLE_ROW_WISE.value

# Tables per rank, rows, dim, pooling factor: vary lookups, bytes, outputs and shards independently.
# Rows range from 1,000 to 200,000, because small tables stay in caches and their ids repeat, and
# one rate must fit all.
_SHAPES = (
    (1, 200_000, 128, 20.0),
    (2, 10_000, 64, 10.0),
    (4, 2_000, 32, 5.0),
    (1, 50_000, 16, 40.0),
    (3, 5_000, 64, 30.0),
    (2, 30_000, 256, 4.0),
    (6, 1_000, 64, 2.0),
    (1, 20_000, 128, 50.0),
)
# The gradient of a replicated table is as large as the table: use fewer rows.
_COPY_ROWS = 4


def micro_plans(cluster: Cluster, batch_size: int) -> Iterator[PlanFile]:
    """Return balanced plans for every kind of exchange, plans on one rank, and weighted ones."""
    for kind in (TW, CW, RW, TWRW, DATA_PARALLEL):
        for shape in _SHAPES:
            yield fixed_plan(_fixed_tables(kind, shape, cluster), cluster, batch_size)
    for shape in _SHAPES[1:6:2]:
        alone = [_table_on_rank(one, 0) for one in _fixed_tables(TW, shape, cluster)]
        yield fixed_plan(alone, cluster, batch_size)
    for shape in _SHAPES[:3]:
        yield fixed_plan(_fixed_tables(TW, shape, cluster, weighted=True), cluster, batch_size)


def _fixed_tables(
    kind: str, shape: tuple[int, int, int, float], cluster: Cluster, *, weighted: bool = False
) -> list[FixedTable]:
    each, rows, dim, pooling = shape
    world, local = cluster.ranks, cluster.devices_per_host
    found = []
    # Fewer tables that are on all ranks, so that each rank has the same amount of work.
    for n in range(each * world if kind in (TW, CW) else each):
        table = ListedTable(
            name=f"t{n}",
            rows=rows // _COPY_ROWS if kind == DATA_PARALLEL else rows,
            dim=dim,
            pooling_factor=pooling,
            weighted=weighted,
        )
        width = dim // 2 if kind == CW else dim
        everywhere = tuple(range(world))
        host = n % cluster.hosts * local
        ranks = {
            TW: (n % world,),
            CW: (n % world, (n + 1) % world),
            RW: everywhere,
            TWRW: tuple(range(host, host + local)),
            DATA_PARALLEL: everywhere,
        }[kind]
        found.append(FixedTable(table=table, sharding_type=kind, width=width, ranks=ranks))
    return found


def _table_on_rank(one: FixedTable, rank: int) -> FixedTable:
    return FixedTable(table=one.table, sharding_type=TW, width=one.table.dim, ranks=(rank,))
