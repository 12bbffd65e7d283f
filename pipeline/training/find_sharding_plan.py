"""Finds the sharding plan of a run: from a file, homerec's search, or TorchRec's planner."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torchrec.distributed.planner.constants import (
    CROSS_NODE_BANDWIDTH,
    DDR_MEM_BW,
    HBM_MEM_BW,
    HBM_TO_DDR_MEM_BW,
    INTRA_NODE_BANDWIDTH,
)
from torchrec.distributed.planner.types import ParameterConstraints
from torchrec.distributed.types import ModuleSharder, ShardingPlan

from embeddings.config import UNPOOLED_TYPES
from embeddings.features import EmbeddingTable
from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import GIB, Cluster, load_cluster, presets
from embeddings.planner.inputs.costs import GBS
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.plans.stock_plan import PlanError, make_plan
from embeddings.planner.search.search import Budget
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.training.batch_size import batch_sizes
from pipeline.training.plan_from_file import plan_from_file
from pipeline.training.replica_groups import group_shape

# The plan follows from the rounds, so that every start of a run has the same one; 500 tables on 128
# ranks take 3 s. Seconds only end what the other ranks would not wait for.
_ROUNDS = 2_000
_MOST_SECONDS = 120.0
_PART_OF_PATIENCE = 4
"""Of train.timeout, which other ranks wait for a plan, the search takes a fourth at most; so do
TorchRec's planner, and looking for what would help where nothing fits."""

FROM_A_RUN = ("qcomm_forward", "qcomm_backward", "replica_groups", "sync_every")
"""What `sharding` and `TrainingSetup` both have."""


def find_sharding_plan(
    step: nn.Module,
    tables: Sequence[EmbeddingTable],
    config: Config,
    *,
    sharders: list[ModuleSharder[Any]],
    world: World,
    memory: Memory,
) -> ShardingPlan:
    """Find the plan for `step` on this rank only, well within the timeout of the others.

    Args:
        memory: memory of every rank.

    Raises UserError if the file or cluster does not match this run, PlanError if nothing fits.
    """
    sharding = config.sharding
    if sharding.plan is not None:
        return plan_from_file(sharding.plan, step, tables, world)
    rows = batch_sizes(config.train, world.size).per_rank
    seconds = planning_seconds(config)
    if sharding.planner == "torchrec":
        if sharding.cluster:
            raise UserError(
                f"sharding.cluster: {sharding.cluster} is for homerec's planner, and "
                "sharding.planner is torchrec; remove one"
            )
        size, local_size = group_shape(sharding, world)
        return make_plan(
            step,
            limits_of_run(tables, config),
            sharders=sharders,
            batch_size=rows,
            world_size=size,
            local_world_size=local_size,
            device=world.device,
            seconds=int(seconds),
            hbm_bytes=int(memory.hbm_gib * GIB),
        )
    try:
        request = PlanRequest(
            module=step,
            cluster=cluster_of(config, world, memory),
            batch_size=rows,
            usage=_limits(tables, config, world),
            setup=TrainingSetup(**{name: getattr(sharding, name) for name in FROM_A_RUN}),
        )
        budget = Budget(rounds=_ROUNDS, seconds=seconds)
        found = find_plan(request, budget, diagnosis_seconds=seconds / 2)
    except PlanError:
        raise
    except ValueError as error:
        raise UserError(f"sharding: {error}") from error
    if found.cut_off:
        sys.stderr.write(
            f"homerec: the search for a sharding plan stopped after {found.rounds:,} rounds "
            f"({seconds:g} s): another start may find another plan; plan with 'homerec plan' and "
            "pass --sharding.plan\n"
        )
    return found.plan


def planning_seconds(config: Config) -> float:
    """Return the time limit of a search."""
    return max(1.0, min(_MOST_SECONDS, config.train.timeout / _PART_OF_PATIENCE))


def limits_of_run(
    tables: Sequence[EmbeddingTable], config: Config
) -> dict[str, ParameterConstraints]:
    """Apply `sharding.types` and `sharding.min_partition` by table; UserError if none is left."""
    found = {}
    for table in tables:
        types = config.sharding.types_of(table)
        if not types:
            raise UserError(
                f"sharding.types: table {table.name!r}, whose rows model.attention needs unpooled, "
                f"can only be {', '.join(UNPOOLED_TYPES)}, not {', '.join(config.sharding.types)}; "
                "add one of them"
            )
        found[table.name] = ParameterConstraints(
            sharding_types=list(types) if config.sharding.types else None,
            min_partition=config.sharding.min_partition,
        )
    return found


def _limits(
    tables: Sequence[EmbeddingTable], config: Config, world: World
) -> dict[str, ParameterConstraints]:
    """Return the types of the run, without data_parallel if it cannot run or has no benefit."""
    found = limits_of_run(tables, config)
    if config.sharding.types:
        return found
    # semi_sync looks rows up before a dense optimizer's step. One rank has no copies to keep equal.
    # Replica groups are asked for to average tables now and then, not in every step.
    groups = config.sharding.replica_groups
    if config.train.pipeline == "semi_sync" or world.size == 1 or groups > 1:
        for table in tables:
            possible = config.sharding.types_of(table)
            found[table.name].sharding_types = [
                one for one in possible if one not in _EXCLUDED_TYPES
            ]
    return found


# TorchRec offers grid_shard only if it is requested by name.
_EXCLUDED_TYPES = ("data_parallel", "grid_shard")


@dataclass(frozen=True, slots=True)
class Memory:
    """GiB of a device and of a host; without a device, no HBM."""

    hbm_gib: float
    host_gib: float


def least_memory(world: World) -> Memory:
    """Return the minimum memory of all devices and hosts of the run. Collective.

    Not tested on GPUs yet.
    """
    hbm = 0.0
    if world.device.type == "cuda":
        hbm = torch.cuda.get_device_properties(world.device).total_memory / GIB
    mine = (hbm, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB)
    every = [mine] * world.size
    dist.all_gather_object(every, mine, group=world.control)
    return Memory(*(min(values) for values in zip(*every, strict=True)))


def cluster_of(config: Config, world: World, memory: Memory) -> Cluster:
    """Return the cluster to plan for: `sharding.cluster`, or the current ranks.

    Raises UserError for a cluster with another shape or device.
    """
    if world.size % world.local_size:
        raise UserError(
            f"sharding.planner: homerec plans for hosts of equally many ranks, and {world.size} "
            f"ranks are not hosts of {world.local_size}; use --sharding.planner torchrec"
        )
    hosts = world.size // world.local_size
    source, device = config.sharding.cluster, world.device.type
    if source:
        try:
            cluster = load_cluster(source)
        except ValueError as error:
            raise UserError(f"sharding.cluster: {error}") from error
        # The name of a preset defines the devices, but not their number.
        if source in presets():
            cluster = _shaped(cluster, world, hosts)
        wanted = (device, hosts, world.local_size)
        if (cluster.device, cluster.hosts, cluster.devices_per_host) != wanted:
            raise UserError(
                f"sharding.cluster: {source} has {cluster.hosts} hosts of "
                f"{cluster.devices_per_host} {cluster.device} ranks, and this run has {hosts} of "
                f"{world.local_size} on {device}; give the cluster of this run, or ''"
            )
        return cluster
    if device == "cpu":
        return _shaped(load_cluster("cpu"), world, hosts).model_copy(
            update={"ddr_gb": memory.host_gib}
        )
    return _shaped(of_gpu(torch.cuda.get_device_name(world.device), memory), world, hosts)


def _shaped(cluster: Cluster, world: World, hosts: int) -> Cluster:
    return cluster.model_copy(update={"hosts": hosts, "devices_per_host": world.local_size})


def of_gpu(name: str, memory: Memory) -> Cluster:
    """Return the preset with the name and memory of the GPU, else TorchRec's constants.

    The memory is always that of the device. Not tested on GPUs yet.
    """
    words = set(re.split(r"[\s-]+", name.lower()))
    own = {"hbm_gb": memory.hbm_gib, "ddr_gb": memory.host_gib}
    for preset in presets():
        cluster = load_cluster(preset)
        model = preset.partition("-")[0]
        if model in words and 0.8 * cluster.hbm_gb < memory.hbm_gib < 1.2 * cluster.hbm_gb:
            return cluster.model_copy(update=own)
    return Cluster(
        name=name,
        hosts=1,
        devices_per_host=1,
        device="cuda",
        hbm_bw=HBM_MEM_BW / GBS,
        ddr_bw=DDR_MEM_BW / GBS,
        intra_bw=INTRA_NODE_BANDWIDTH / GBS,
        inter_bw=CROSS_NODE_BANDWIDTH / GBS,
        host_device_bw=HBM_TO_DDR_MEM_BW / GBS,
        source="TorchRec's defaults",
        **own,
    )
