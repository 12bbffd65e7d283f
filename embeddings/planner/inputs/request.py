"""What is to be planned: a model, a cluster, and what one demands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torchrec.distributed.planner.constants import DEFAULT_PERF_ESTIMATOR
from torchrec.distributed.planner.estimator.estimator import EmbeddingPerfEstimatorFactory
from torchrec.distributed.planner.shard_estimators import EmbeddingStorageEstimator
from torchrec.distributed.planner.types import (
    ParameterConstraints,
    ShardEstimator,
    StorageReservation,
    Topology,
)
from torchrec.distributed.types import CacheParams, ModuleSharder, PipelineType

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.costs import CalibratedConfig, Costs
from embeddings.planner.inputs.rules import Limits, Rule, apply_rules
from embeddings.planner.inputs.training_setup import Conditions
from embeddings.planner.plans.replica_cost import sync_ms
from embeddings.planner.search.enumerator import CompactEnumerator
from embeddings.planner.search.options import Options
from embeddings.planner.search.problem import NoPlacement, Problem, build_problem


def default_reservation() -> StorageReservation:
    """TorchRec's default: a share of HBM, six times the dense weights, and the batches' ids."""
    return Conditions().reservation()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """All that a plan depends on, but for the search's budget."""

    module: nn.Module
    """The model, on meta; tables marked with their optimizers."""
    cluster: Cluster
    batch_size: int
    """Rows a rank."""
    usage: Mapping[str, ParameterConstraints] = field(default_factory=dict)
    """How tables are used, by name: pooling factors, number of poolings, cache, .."""
    rules: Sequence[Rule] = ()
    conditions: Conditions = field(default_factory=Conditions)
    """How the model trains: exchanges, pipeline, memory kept from tables, replicas."""
    half: frozenset[str] = frozenset()
    """Tables to be taken as if they were stored in fp16."""

    def changed(self, **fields: Any) -> Request:
        """The same but for `fields`."""
        return dataclasses.replace(self, **fields)

    @property
    def group(self) -> Cluster:
        """The ranks that tables are sharded over; ValueError if replicas do not come out even."""
        return self.conditions.group(self.cluster)

    @property
    def sharders(self) -> Sequence[ModuleSharder[Any]]:
        return self.conditions.sharders(self.cluster.device)

    @property
    def reservation(self) -> StorageReservation:
        return self.conditions.reservation()

    @property
    def pipeline(self) -> PipelineType:
        return self.conditions.pipeline_type

    @property
    def constraints(self) -> dict[str, ParameterConstraints]:
        """`usage`, with caches filled a batch ahead if the pipeline does that."""
        if self.conditions.pipeline != "prefetch":
            return dict(self.usage)
        return {
            name: dataclasses.replace(
                known,
                cache_params=dataclasses.replace(
                    known.cache_params or CacheParams(), prefetch_pipeline=True
                ),
            )
            for name, known in self.usage.items()
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Priced:
    """A request with TorchRec's costs of everything it allows."""

    topology: Topology
    storage: Topology
    """Ranks with what the reservation leaves for tables."""
    enumerator: CompactEnumerator
    options: Options
    problem: Problem
    limits: Limits
    """Rules, applied to the tables."""

    def restricted(self, types: frozenset[str]) -> Problem | None:
        """The problem with these sharding types alone; None where a table can be none of them."""
        try:
            limits = dataclasses.replace(self.limits, types=types)
            return build_problem(self.options, self.storage, limits)
        except NoPlacement:
            return None


def reserve(request: Request) -> Topology:
    """The ranks with what the reservation leaves for tables; PlannerError if nothing is left."""
    left: Topology = request.reservation.reserve(
        topology=request.group.topology(),
        batch_size=request.batch_size,
        module=request.module,
        sharders=list(request.sharders),
        constraints=request.constraints,
    )
    return left


def price(request: Request, known: tuple[CompactEnumerator, Options] | None = None) -> Priced:
    """Raises ValueError for rules that cannot be met, and TorchRec's PlannerError if the
    reservation alone is more than a device has.

    `known`: `all_options` of the request, or of one that differs in memory or rules alone.
    """
    topology = request.group.topology()
    storage = reserve(request)
    enumerator, options = known or all_options(request)
    limits = apply_rules(request.rules, options, topology.world_size)
    return Priced(
        topology=topology,
        storage=storage,
        enumerator=enumerator,
        options=options,
        problem=build_problem(options, storage, limits),
        limits=limits,
    )


def all_options(request: Request) -> tuple[CompactEnumerator, Options]:
    """Every option with its costs, whatever the rules say."""
    topology = request.group.topology()
    usage = request.constraints
    enumerator = CompactEnumerator(
        topology,
        request.batch_size,
        usage,
        estimators(topology, usage, request.pipeline, request.cluster.costs),
        half=request.half,
    )
    options = enumerator.options(request.module, request.sharders)
    sync = sync_ms(options, request.conditions, request.cluster)
    return enumerator, dataclasses.replace(options, sync=sync)


def estimators(
    topology: Topology,
    usage: dict[str, ParameterConstraints],
    pipeline: PipelineType,
    costs: Costs | None = None,
) -> list[ShardEstimator]:
    """TorchRec's estimators of time and memory, with its own constants or with `costs`."""
    time = (
        EmbeddingPerfEstimatorFactory.create(
            DEFAULT_PERF_ESTIMATOR, topology=topology, constraints=usage
        )
        if costs is None
        else EmbeddingPerfEstimatorFactory.create_with_config(
            CalibratedConfig(costs, topology.compute_device), topology=topology, constraints=usage
        )
    )
    return [
        time,
        EmbeddingStorageEstimator(topology=topology, constraints=usage, pipeline_type=pipeline),
    ]
