"""A small model, and a plan's file for every way in which its tables can be sharded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchrec import EmbeddingBagCollection, KeyedJaggedTensor
from torchrec.distributed.sharding_plan import calculate_shard_sizes_and_offsets
from torchrec.modules.embedding_modules import EmbeddingCollection

from embeddings.config import ShardingConfig
from embeddings.features import EmbeddingTable
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile, PredictedRank
from embeddings.planner.problem.options import MEMORIES, PARTS
from models.layers.config import AttentionConfig
from models.towers.config import SharedBottomConfig
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.data.schema import SparseFeature
from pipeline.data.schema import Table as DataTable
from pipeline.planning.run_source import listed
from pipeline.ranks.world import World
from pipeline.training.build import build_step
from pipeline.training.resolve_features import Selection, resolve_features
from tests.integration.sharding.test_sharding import SCHEMA as PLAIN
from tests.integration.sharding.test_sharding import config as plain_config

ROWS = 32
"""Of a global batch."""
# The smallest: what is here is about the tables, and each of many runs pays for the tower.
TOWER = SharedBottomConfig(expert_hidden=(), expert_dim=8, tower_hidden=(8,))

# Two more tables than the plain model has: one whose bags are ragged, and rows for the attention.
SCHEMA = PLAIN.model_copy(
    update={
        "sparse": (
            *PLAIN.sparse,
            SparseFeature(name="tags", group="item", table="tag", multi=True),
        ),
        "tables": (*PLAIN.tables, DataTable(name="tag", vocab_size=21)),
    }
)
VOCABULARY = {"user": 42, "item": 32, "tab": 6, "history": 32, "tags": 23}
BAGS = ("history", "tags")


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How all tables are sharded; those that cannot be so are sharded as near to it as can be."""

    kind: str
    kernel: str = "fused"
    width: int | None = None
    """Columns of a shard; None: whole rows."""

    def __str__(self) -> str:
        return f"{self.kind} {self.kernel} {self.width or 'whole'}"

    def of(self, table: EmbeddingTable) -> tuple[str, str, int]:
        """Sharding type, kernel and columns of a shard."""
        width = min(self.width or table.dim, table.dim)
        if not table.unpooled:
            return self.kind, self.kernel, width
        kernel = "fused" if self.kernel == "dense" else self.kernel
        if width < table.dim:
            return "column_wise", kernel, width
        by_rows = self.kind in ("row_wise", "table_row_wise", "grid_shard")
        return "row_wise" if by_rows else "table_wise", kernel, width


WAYS = (
    Way(kind="data_parallel", kernel="dense"),
    *(
        Way(kind=kind, kernel=kernel)
        for kernel in ("fused", "dense")
        for kind in ("table_wise", "row_wise", "table_row_wise")
    ),
    *(
        Way(kind=kind, kernel=kernel, width=width)
        for kind in ("column_wise", "table_column_wise", "grid_shard")
        for kernel, width in (("fused", 8), ("fused", 4), ("dense", 4))
    ),
)
"""Every sharding type with every kernel that CPU runs it with; rows whole, halved, quartered."""


def config(plan: Path | None = None) -> Config:
    plain = plain_config(())
    attention = AttentionConfig(events={"seen": {"history": "item"}}, hidden=8)
    return plain.model_copy(
        update={
            "model": plain.model.model_copy(update={"attention": attention, "tower": TOWER}),
            "sharding": ShardingConfig(plan=plan),
            "train": plain.train.model_copy(update={"batch_size": ROWS}),
        }
    )


def write_plan(path: Path, way: Way, world: World) -> None:
    """The file of a plan that shards every table in this way."""
    run = config()
    chosen = resolve_features(run, SCHEMA)
    hosts = world.size // world.local_size
    cluster = Cluster(
        hosts=hosts,
        devices_per_host=world.local_size,
        device="cpu",
        ddr_gb=1,
        ddr_bw=1,
        intra_bw=1,
        inter_bw=1,
        host_device_bw=1,
    )
    paths = _collections(build_step(run, chosen, world))
    placed = [
        _placed(way, table, number, paths[table.unpooled], chosen, run, world)
        for number, table in enumerate(chosen.tables)
    ]
    nothing = PredictedRank(
        ms=dict.fromkeys(PARTS, 0.0),
        bytes=dict.fromkeys(MEMORIES, 0),
        room=dict.fromkeys(MEMORIES, 0),
    )
    file = PlanFile(
        cluster=cluster,
        batch_size=ROWS // world.size,
        seed=0,
        rounds=0,
        cut_off=False,
        time_ms=0,
        lower_bound_ms=0,
        tables=tuple(placed),
        ranks=(nothing,) * world.size,
    )
    path.write_text(file.to_json(), encoding="utf-8")


def _collections(step: nn.Module) -> dict[bool, str]:
    """Where the collections are, by whether they are unpooled."""
    kinds = {EmbeddingBagCollection: False, EmbeddingCollection: True}
    return {kinds[type(m)]: path for path, m in step.named_modules() if type(m) in kinds}


def _placed(
    way: Way,
    table: EmbeddingTable,
    number: int,
    path: str,
    chosen: Selection,
    run: Config,
    world: World,
) -> PlacedTable:
    kind, kernel, width = way.of(table)
    sizes, _ = calculate_shard_sizes_and_offsets(
        tensor=torch.empty(table.rows, table.dim, device="meta"),
        world_size=world.size,
        local_world_size=world.local_size,
        sharding_type=kind,
        col_wise_shard_dim=width,
    )
    blocks = table.dim // width
    of_block = [size[0] for size in sizes[: len(sizes) // blocks]]
    runs: list[tuple[int, int]] = []
    for rows in of_block:
        if runs and runs[-1][0] == rows:
            runs[-1] = (rows, runs[-1][1] + 1)
        else:
            runs.append((rows, 1))
    (known,) = (one for one in listed(chosen, run) if one.name == table.name)
    return PlacedTable(
        table=known,
        path=path,
        sharding_type=kind,
        compute_kernel=kernel,
        width=width,
        rows=tuple(runs),
        ranks=",".join(str(rank) for rank in _ranks(kind, number, blocks, world)),
        shard_ms=((0.0,) * 6,),
    )


def _ranks(kind: str, number: int, blocks: int, world: World) -> list[int]:
    """The rank of every shard; tables begin at different ranks and hosts."""
    local, hosts = world.local_size, world.size // world.local_size
    if kind == "table_wise":
        return [number // 2 % world.size]  # of four ranks two have none
    if kind == "column_wise":
        return [(number + block) % world.size for block in range(blocks)]
    if kind in ("data_parallel", "row_wise"):
        return list(range(world.size))
    if kind == "table_column_wise":
        return [number % hosts * local + block % local for block in range(blocks)]
    # table_row_wise is one block, on one host; grid_shard has each block on a host.
    return [
        (number + block) % hosts * local + rank for block in range(blocks) for rank in range(local)
    ]


def batch(step: int, world: World, chosen: Selection) -> Batch:
    """This rank's rows of the global batch of a step: single ids, ragged bags, labels with gaps."""
    random = torch.Generator().manual_seed(step)

    def integers(high: int, count: int) -> torch.Tensor:
        return torch.randint(0, high, (count,), generator=random)

    mine = slice(world.rank * ROWS // world.size, (world.rank + 1) * ROWS // world.size)
    keys = [feature.name for feature in chosen.features]
    bags: list[torch.Tensor] = []
    for key in sorted(keys):
        lengths = integers(5, ROWS) if key in BAGS else torch.ones(ROWS, dtype=torch.int64)
        values = integers(VOCABULARY[key], int(lengths.sum()))
        bags.append(list(torch.split(values, lengths.tolist()))[mine])  # type: ignore[arg-type]
    of_key = dict(zip(sorted(keys), bags, strict=True))
    parts: list[Any] = [bag for key in keys for bag in of_key[key]]
    dense = torch.randn(ROWS, 2, generator=random)
    labels = (torch.rand(ROWS, 3, generator=random) < 0.4).float()
    labels[torch.rand(ROWS, 3, generator=random) < 0.1] = float("nan")
    rows = ROWS // world.size
    return Batch(
        dense=dense[mine],
        sparse=KeyedJaggedTensor(
            keys=keys,
            values=torch.cat(parts),
            lengths=torch.tensor([len(part) for part in parts]),
            stride=rows,
        ),
        labels=labels[mine],
        weights=torch.ones(rows),
        users=torch.zeros(rows, dtype=torch.int64),
    )
