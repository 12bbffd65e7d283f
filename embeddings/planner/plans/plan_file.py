"""Plan files: inputs, placement of every shard, and predicted cost."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from torchrec.distributed.types import (
    EmbeddingModuleShardingPlan,
    ShardingPlan,
)

from embeddings.frozen import Frozen
from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.files import read_json, validate
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.problem.options import MEMORIES, PARTS
from embeddings.planner.problem.problem import rated

KIND = "homerec sharding plan"
VERSION = 4
_ROUNDING = 1e-6

_Bytes = Annotated[int, Field(gt=-(2**63), lt=2**63)]


class PredictedRank(Frozen):
    """Cost of a rank's tables."""

    ms: dict[str, float]
    """Milliseconds per step, by part."""
    sync_ms: float = 0.0
    """Milliseconds per step for replicas."""
    bytes: dict[str, _Bytes]
    """Bytes by memory (hbm, ddr, ssd)."""
    room: dict[str, _Bytes]
    """Bytes available for tables."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, keys in (("ms", PARTS), ("bytes", MEMORIES), ("room", MEMORIES)):
            if set(found := getattr(self, name)) != set(keys):
                raise ValueError(f"{name}: has {', '.join(found)}, expected {', '.join(keys)}")
        return self


class PlanFile(Frozen):
    """A plan with its inputs and predicted cost."""

    kind: Literal["homerec sharding plan"] = "homerec sharding plan"
    version: Literal[4] = 4
    cluster: Cluster
    """The ranks that tables are sharded over; with replicas, one group."""
    full_cluster: Cluster | None = None
    """The cluster of all groups, if there are several."""
    setup: TrainingSetup = TrainingSetup()
    """Training setup of the model."""
    batch_size: int = Field(ge=1)
    """Rows per rank."""
    rules: tuple[Rule, ...] = ()
    """Rules of the plan."""
    seed: int
    """Seed of the search."""
    rounds: int
    """Rounds of the search."""
    cut_off: bool
    """Whether the time limit ended the search, so that another run may find another plan."""
    time_ms: float
    """Milliseconds per step of the busiest rank, estimated by TorchRec; including replicas."""
    lower_bound_ms: float
    """Lower bound for all plans under the same rules."""
    tables: tuple[PlacedTable, ...] = Field(min_length=1)
    ranks: tuple[PredictedRank, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        world = self.cluster.ranks
        if len(self.ranks) != world:
            raise ValueError(f"ranks: {len(self.ranks)} on a cluster of {world}; plan again")
        for placed in self.tables:
            if max(placed.rank_list()) >= world:
                raise ValueError(
                    f"table {placed.table.name!r}: rank {max(placed.rank_list())} on a cluster of "
                    f"{world}; plan again"
                )
            kinds = 1 + int(_kind_of_rank(self.cluster).max())
            if len(placed.shard_ms) != kinds:
                raise ValueError(
                    f"table {placed.table.name!r}: shard_ms of {len(placed.shard_ms)} kinds of "
                    f"devices on a cluster of {kinds}; plan again"
                )
        if len({placed.table.name for placed in self.tables}) < len(self.tables):
            raise ValueError("two tables have the same name; plan again")
        return self

    def sharding_plan(self) -> ShardingPlan:
        """Return the plan as TorchRec's object."""
        modules: dict[str, EmbeddingModuleShardingPlan] = {}
        for placed in self.tables:
            module = modules.setdefault(placed.path, EmbeddingModuleShardingPlan())
            module[placed.table.name] = placed.parameter_sharding(self.cluster, self.setup)
        return ShardingPlan(dict(modules))

    def find(self, name: str) -> PlacedTable:
        """Return a table by name. Raises ValueError if it does not exist."""
        for placed in self.tables:
            if placed.table.name == name:
                return placed
        shown = ", ".join(placed.table.name for placed in self.tables[:10])
        raise ValueError(f"no table {name!r} in the plan; tables: {shown}")

    def shard_perf(self, placed: PlacedTable) -> FloatArray:
        """Return milliseconds of every shard of a table by PARTS, [S, 6]."""
        kind = _kind_of_rank(self.cluster)[placed.rank_list()]
        perf: FloatArray = np.array(placed.shard_ms)[kind]
        return perf

    def shard_times(self, placed: PlacedTable) -> FloatArray:
        """Return milliseconds of every shard of a table, [S]: TorchRec's rating (without the ids'
        exchange) and replicas."""
        total: FloatArray = rated(self.shard_perf(placed)) + placed.sync_ms
        return total

    def perf(self) -> FloatArray:
        """Return milliseconds by rank and PARTS, [R, 6]."""
        return np.array([[rank.ms[part] for part in PARTS] for rank in self.ranks])

    def rated(self) -> FloatArray:
        """Return rated milliseconds by rank, [R]; the maximum is the plan's time."""
        total: FloatArray = rated(self.perf()) + self.sync()
        return total

    def sync(self) -> FloatArray:
        """Return milliseconds per step for replicas by rank, [R]."""
        return np.array([rank.sync_ms for rank in self.ranks])

    def starts(self) -> dict[str, float]:
        """Return the fixed milliseconds by part of the plan's sharding types (`costs.starts` of the
        cluster). Not included in `time_ms`, which is TorchRec's estimate."""
        if self.cluster.costs is None:
            return {}
        types = [placed.sharding_type for placed in self.tables]
        return self.cluster.costs.starts.by_part(types, self.cluster.ranks)

    def expected_ms(self) -> float:
        """Return `time_ms` plus `starts`, without the exchange of ids, as in a measured step."""
        return self.objective_ms() - self.starts().get("input_dist_comms", 0.0)

    def objective_ms(self) -> float:
        """Return `time_ms` plus `starts`, which the search minimizes."""
        return self.time_ms + sum(self.starts().values())

    def gap(self) -> float:
        """Return how much slower than its lower bound the plan is: see the function `gap`."""
        return gap(self.time_ms, self.lower_bound_ms)

    def memory(self) -> tuple[IntArray, IntArray]:
        """Return used and available bytes for tables by rank and MEMORIES, [R, 3] each."""
        used = [[rank.bytes[memory] for memory in MEMORIES] for rank in self.ranks]
        room = [[rank.room[memory] for memory in MEMORIES] for rank in self.ranks]
        return np.array(used, np.int64), np.array(room, np.int64)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def gap(time_ms: float, lower_bound_ms: float) -> float:
    """Return how much slower than its lower bound a plan is, relative to it; 0 without one, or if
    only rounding makes a difference."""
    found = time_ms / lower_bound_ms - 1 if lower_bound_ms else 0.0
    return found if found > _ROUNDING else 0.0


@lru_cache(maxsize=8)
def _kind_of_rank(cluster: Cluster) -> IntArray:
    return cluster.kinds()[1]


def load_plan(path: Path) -> PlanFile:
    """Load a plan file. Raises ValueError in one line if it is not a plan file of this version."""
    remedy = "'homerec plan SOURCE --out FILE' writes one"
    value = read_json(path, remedy)
    if value.get("kind") != KIND:
        raise ValueError(f"{path}: not a plan file; {remedy}")
    if value.get("version") != VERSION:
        raise ValueError(
            f"{path}: a plan of version {value.get('version')!r}; this homerec reads version "
            f"{VERSION}: plan again"
        )
    return validate(PlanFile, value, path)
