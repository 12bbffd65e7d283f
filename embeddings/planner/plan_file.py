"""A plan as a file: what it was made for, where every shard lies, what it is predicted to cost."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharding_spec.api import EnumerableShardingSpec
from torchrec.distributed.planner.utils import placement
from torchrec.distributed.types import (
    CacheParams,
    EmbeddingModuleShardingPlan,
    ParameterSharding,
    ShardingPlan,
    ShardingType,
)

from embeddings.planner.cluster import Cluster
from embeddings.planner.conditions import Conditions
from embeddings.planner.files import Frozen, validate
from embeddings.planner.options import MEMORIES, PARTS, Floats, Ints
from embeddings.planner.problem import rated
from embeddings.planner.rules import Rule
from embeddings.planner.tables import ListedTable

KIND = "homerec sharding plan"
VERSION = 1

_COPIES = ShardingType.DATA_PARALLEL.value


class PlacedTable(Frozen):
    """A table and its shards: equal blocks of columns, each cut by rows; copies if data-parallel.

    Shards stand block by block, and in a block from the first row on.
    """

    table: ListedTable
    """What it is and how it is used; a run that takes the plan must have the same."""
    path: str
    """Of its collection in the model."""
    sharding_type: str
    compute_kernel: str
    width: int = Field(ge=1)
    """Columns of a block."""
    rows: tuple[tuple[int, int], ...] = Field(min_length=1)
    """(rows of a shard, number of such shards next to each other) of one block."""
    ranks: str = Field(pattern=r"^\d+(-\d+)?(,\d+(-\d+)?)*$")
    """The rank of every shard, in order: '0-3,9'."""
    shard_ms: tuple[float, ...] = Field(min_length=len(PARTS), max_length=len(PARTS))
    """Milliseconds that a shard costs its rank: forward (compute, comms), backward (compute,
    comms), input exchange, prefetch."""
    sync_ms: float = 0.0
    """Milliseconds of a step that replicas of a shard cost its rank."""

    @model_validator(mode="after")
    def _covers(self) -> Self:
        table, shards = self.table, self.table.dim // self.width * sum(n for _, n in self.rows)
        sizes = {rows for rows, _ in self.rows}
        if self.sharding_type == _COPIES:
            whole = self.width == table.dim and sizes == {table.rows}
        else:
            covered = sum(rows * n for rows, n in self.rows)
            whole = table.dim % self.width == 0 and covered == table.rows
        if not whole or shards != len(self.rank_list()):
            raise ValueError(
                f"table {table.name!r}: its shards or their ranks do not make up its "
                f"{table.rows} x {table.dim}; plan anew"
            )
        return self

    @property
    def rated_ms(self) -> float:
        """What TorchRec's rating counts of a shard (all but the ids' exchange), and replicas."""
        return float(rated(np.array(self.shard_ms))) + self.sync_ms

    @property
    def copied(self) -> bool:
        return self.sharding_type == _COPIES

    def rank_list(self) -> list[int]:
        """The rank of every shard."""
        found: list[int] = []
        for run in self.ranks.split(","):
            first, _, last = run.partition("-")
            found += range(int(first), int(last or first) + 1)
        return found

    def rectangles(self) -> Ints:
        """[S, 4] of every shard: first row, first column, rows, columns."""
        sizes = [rows for rows, count in self.rows for _ in range(count)]
        starts = [0] * len(sizes) if self.copied else [0, *accumulate(sizes)][:-1]
        blocks = self.table.dim // self.width
        found = np.zeros((blocks, len(sizes), 4), np.int64)
        found[:, :, 0], found[:, :, 2], found[:, :, 3] = starts, sizes, self.width
        found[:, :, 1] = self.width * np.arange(blocks)[:, None]
        return found.reshape(-1, 4)

    def cache_params(self, conditions: Conditions) -> CacheParams | None:
        """Of cached tables alone, where TorchRec's defaults do not hold."""
        ahead, cache = conditions.pipeline == "prefetch", self.table.cache
        if self.compute_kernel != "fused_uvm_caching" or not (ahead or cache):
            return None
        return CacheParams(
            load_factor=cache and cache.load_factor, prefetch_pipeline=True if ahead else None
        )

    def parameter_sharding(self, cluster: Cluster, conditions: Conditions) -> ParameterSharding:
        """TorchRec's own object."""
        ranks = self.rank_list()
        shards = [
            ShardMetadata(
                shard_offsets=[row, column],
                shard_sizes=[rows, columns],
                placement=placement(cluster.device, rank, cluster.devices_per_host),
            )
            for (row, column, rows, columns), rank in zip(
                self.rectangles().tolist() if not self.copied else [], ranks, strict=not self.copied
            )
        ]
        return ParameterSharding(
            sharding_type=self.sharding_type,
            compute_kernel=self.compute_kernel,
            ranks=ranks,
            sharding_spec=None if self.copied else EnumerableShardingSpec(shards),
            cache_params=self.cache_params(conditions),
        )


class PredictedRank(Frozen):
    """What a rank's tables take."""

    ms: dict[str, float]
    """Milliseconds of a step, by part."""
    sync_ms: float = 0.0
    """Milliseconds of a step for replicas."""
    bytes: dict[str, int]
    """By memory (hbm, ddr)."""
    room: dict[str, int]
    """Bytes that the rank has for tables."""


class PlanFile(Frozen):
    """Everything about a plan."""

    kind: Literal["homerec sharding plan"] = "homerec sharding plan"
    version: Literal[1] = 1
    cluster: Cluster
    """What tables are sharded over: with replicas, the ranks of one group."""
    whole: Cluster | None = None
    """The cluster of all groups, if there are several."""
    conditions: Conditions = Conditions()
    """How the model trains."""
    batch_size: int = Field(ge=1)
    """Rows a rank."""
    rules: tuple[Rule, ...] = ()
    """What was demanded."""
    seed: int
    """Of the search."""
    rounds: int
    """That the search did."""
    cut_off: bool
    """Whether time ended it, so that another run may find another plan."""
    time_ms: float
    """What the busiest rank's tables take in a step, as TorchRec estimates it; with replicas."""
    lower_bound_ms: float
    """No plan under the same rules takes less."""
    tables: tuple[PlacedTable, ...] = Field(min_length=1)
    ranks: tuple[PredictedRank, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        world = self.cluster.ranks
        if len(self.ranks) != world:
            raise ValueError(f"ranks: {len(self.ranks)} of them on a cluster of {world}; plan anew")
        for placed in self.tables:
            if max(placed.rank_list()) >= world:
                raise ValueError(
                    f"table {placed.table.name!r}: rank {max(placed.rank_list())} on a cluster of "
                    f"{world}; plan anew"
                )
        if len({placed.table.name for placed in self.tables}) < len(self.tables):
            raise ValueError("two tables have one name; plan anew")
        return self

    def sharding_plan(self) -> ShardingPlan:
        """The very plan that the search found."""
        modules: dict[str, EmbeddingModuleShardingPlan] = {}
        for placed in self.tables:
            module = modules.setdefault(placed.path, EmbeddingModuleShardingPlan())
            module[placed.table.name] = placed.parameter_sharding(self.cluster, self.conditions)
        return ShardingPlan(dict(modules))

    def find(self, name: str) -> PlacedTable:
        """A table by name; ValueError if there is none."""
        for placed in self.tables:
            if placed.table.name == name:
                return placed
        shown = ", ".join(placed.table.name for placed in self.tables[:10])
        raise ValueError(f"no table {name!r} in the plan; tables: {shown}")

    def perf(self) -> Floats:
        """[R, 6] milliseconds by rank and PARTS."""
        return np.array([[rank.ms[part] for part in PARTS] for rank in self.ranks])

    def rated(self) -> Floats:
        """[R] milliseconds that count: the largest is the plan's time."""
        total: Floats = rated(self.perf()) + self.sync()
        return total

    def sync(self) -> Floats:
        """[R] milliseconds of a step for replicas."""
        return np.array([rank.sync_ms for rank in self.ranks])

    def starts(self) -> dict[str, float]:
        """Milliseconds by part that each rank takes for the plan's sharding types themselves, where
        the cluster's file has them measured; not in `time_ms`, which is TorchRec's."""
        if self.cluster.costs is None:
            return {}
        known = self.cluster.costs.starts
        types = {(placed.sharding_type, placed.copied) for placed in self.tables}
        each = [(known.copied if copied else known.sharded).model_dump() for _, copied in types]
        return {part: sum(start[part] for start in each) for part in each[0]}

    def expected_ms(self) -> float:
        """`time_ms` with `starts`: what a measured step compares with."""
        return self.time_ms + sum(self.starts().values())

    def memory(self) -> tuple[Ints, Ints]:
        """[R, 2] bytes used and bytes there are for tables, by rank and MEMORIES."""
        used = [[rank.bytes[memory] for memory in MEMORIES] for rank in self.ranks]
        room = [[rank.room[memory] for memory in MEMORIES] for rank in self.ranks]
        return np.array(used, np.int64), np.array(room, np.int64)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def load_plan(path: Path) -> PlanFile:
    """Raises ValueError, in one line, for what is no plan file of this version."""
    remedy = "'homerec plan SOURCE --out FILE' writes one"
    try:
        value: Any = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {remedy}") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: line {error.lineno}: not JSON ({error.msg}); {remedy}"
        ) from error
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise ValueError(f"{path}: is no plan to load; {remedy}")
    if value.get("version") != VERSION:
        raise ValueError(
            f"{path}: a plan of version {value.get('version')!r}; this homerec reads version "
            f"{VERSION}: plan anew"
        )
    return validate(PlanFile, value, path)
