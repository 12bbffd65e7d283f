"""Computes TorchRec's costs of all options of a request."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from torchrec.distributed.planner.estimator.estimator import EmbeddingPerfEstimatorFactory
from torchrec.distributed.planner.shard_estimators import EmbeddingStorageEstimator
from torchrec.distributed.planner.types import ParameterConstraints, ShardEstimator, Topology
from torchrec.distributed.types import PipelineType

from embeddings.planner.inputs.costs import Costs, TorchRecConfig, calibrated_config
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.problem.build import NoPlacement, build_problem
from embeddings.planner.problem.enumerator import CompactEnumerator
from embeddings.planner.problem.limits import Limits, apply_rules
from embeddings.planner.problem.options import Options
from embeddings.planner.problem.problem import Problem
from embeddings.planner.problem.replica_cost import sync_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class Priced:
    """A request with TorchRec's costs of all allowed options."""

    topology: Topology
    storage: Topology
    """Ranks with the memory left for tables after the reservation."""
    enumerator: CompactEnumerator
    options: Options
    problem: Problem
    limits: Limits
    """Rules applied to the tables."""

    def restricted(self, types: frozenset[str]) -> Problem | None:
        """Return the problem with only these sharding types; None if a table supports none."""
        try:
            limits = dataclasses.replace(self.limits, types=types)
            return build_problem(self.options, self.storage, limits)
        except NoPlacement:
            return None


def reserve(request: PlanRequest) -> Topology:
    """Return ranks with the memory left for tables. Raises PlannerError if nothing is left."""
    left: Topology = request.reservation.reserve(
        topology=request.group.topology(),
        batch_size=request.batch_size,
        module=request.module,
        sharders=list(request.sharders),
        constraints=request.constraints,
    )
    return left


def price(request: PlanRequest, known: tuple[CompactEnumerator, Options] | None = None) -> Priced:
    """Compute the costs of a request.

    Raises ValueError for rules that cannot be satisfied, and TorchRec's PlannerError if the
    reservation exceeds the memory of a device.

    `known`: `all_options` of the request, or of one that differs only in memory or rules.
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


def all_options(request: PlanRequest) -> tuple[CompactEnumerator, Options]:
    """Return every option with its costs, regardless of rules.

    A shard costs on a rank what it costs on a cluster of that rank's kind of device alone.
    """
    usage = request.constraints
    kinds, kind = request.group.kinds()
    found: list[tuple[CompactEnumerator, Options]] = []
    for alike in kinds:
        topology = alike.topology()
        enumerator = CompactEnumerator(
            topology,
            request.batch_size,
            usage,
            estimators(topology, usage, request.pipeline, alike.costs),
            half=request.half,
        )
        found.append((enumerator, enumerator.options(request.module, request.sharders)))
    enumerator, options = found[0]
    assert all(other.options == options.options for _, other in found)
    perf = np.concatenate([other.perf for _, other in found], axis=1)
    sync = sync_ms(options, request.setup, request.cluster)
    return enumerator, dataclasses.replace(options, perf=perf, kind=kind, sync=sync)


def estimators(
    topology: Topology,
    usage: dict[str, ParameterConstraints],
    pipeline: PipelineType,
    costs: Costs | None = None,
) -> list[ShardEstimator]:
    """Return TorchRec's estimators of time and memory, with its constants or with `costs`."""
    config = calibrated_config(costs, topology.compute_device) if costs else TorchRecConfig()
    time = EmbeddingPerfEstimatorFactory.create_with_config(
        config, topology=topology, constraints=usage
    )
    return [
        time,
        EmbeddingStorageEstimator(topology=topology, constraints=usage, pipeline_type=pipeline),
    ]
