"""The sharding plan of a run: from a file, from homerec's search, or from TorchRec's planner."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import torch
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

# A run starts soon: small models are planned in milliseconds, large ones in this time at most.
_BUDGET = Budget(rounds=2_000, seconds=20)
_DIAGNOSIS_SECONDS = 10.0

FROM_A_RUN = ("qcomm_forward", "qcomm_backward", "replica_groups", "sync_every")
"""What `sharding` and `TrainingSetup` both have."""


def find_sharding_plan(
    step: nn.Module,
    tables: Sequence[EmbeddingTable],
    config: Config,
    *,
    sharders: list[ModuleSharder[Any]],
    world: World,
) -> ShardingPlan:
    """The plan for `step`, found on this rank alone.

    Raises UserError for a file or cluster that is not this run's, PlanError if nothing fits.
    """
    sharding = config.sharding
    if sharding.plan is not None:
        return plan_from_file(sharding.plan, step, tables, world)
    rows = batch_sizes(config.train, world.size).per_rank
    if sharding.planner == "torchrec":
        if sharding.cluster:
            raise UserError(
                f"sharding.cluster: {sharding.cluster} is for homerec's planner, and "
                "sharding.planner is torchrec; drop one"
            )
        size, local_size = group_shape(sharding, world)
        return make_plan(
            step,
            tables,
            sharding,
            sharders=sharders,
            batch_size=rows,
            world_size=size,
            local_world_size=local_size,
            device=world.device,
        )
    try:
        request = PlanRequest(
            module=step,
            cluster=cluster_of(config, world),
            batch_size=rows,
            usage=_limits(tables, config, world),
            setup=TrainingSetup(**{name: getattr(sharding, name) for name in FROM_A_RUN}),
        )
        return find_plan(request, _BUDGET, diagnosis_seconds=_DIAGNOSIS_SECONDS).plan
    except PlanError:
        raise
    except ValueError as error:
        raise UserError(f"sharding: {error}") from error


def limits_of_run(
    tables: Sequence[EmbeddingTable], config: Config
) -> dict[str, ParameterConstraints]:
    """`sharding.types` and `sharding.min_partition`, table by table; UserError if none is left."""
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
    """Those of the run, without data_parallel where that cannot run or brings nothing."""
    found = limits_of_run(tables, config)
    if config.sharding.types:
        return found
    # semi_sync looks rows up before a dense optimizer's step. One rank has no copies to keep equal.
    # Replica groups are asked for to average tables now and then, not in every step.
    groups = config.sharding.replica_groups
    if config.train.pipeline == "semi_sync" or world.size == 1 or groups > 1:
        for table in tables:
            possible = config.sharding.types_of(table)
            found[table.name].sharding_types = [one for one in possible if one not in _NO_COPIES]
    return found


# grid_shard is offered by TorchRec only where it is asked for by name.
_NO_COPIES = ("data_parallel", "grid_shard")


def cluster_of(config: Config, world: World) -> Cluster:
    """What the run is planned for: `sharding.cluster`, or the ranks that run.

    UserError for a cluster of another shape or device.
    """
    if world.size % world.local_size:
        raise UserError(
            f"sharding.planner: homerec plans for hosts of equally many ranks, and {world.size} "
            f"ranks are not hosts of {world.local_size}; take --sharding.planner torchrec"
        )
    hosts = world.size // world.local_size
    source, device = config.sharding.cluster, world.device.type
    if source:
        try:
            cluster = load_cluster(source)
        except ValueError as error:
            raise UserError(f"sharding.cluster: {error}") from error
        # A preset's name alone says what devices there are, not how many.
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
        return _shaped(load_cluster("cpu"), world, hosts).model_copy(update={"ddr_gb": _host_gib()})
    return _shaped(_of_gpu(world.device), world, hosts)


def _shaped(cluster: Cluster, world: World, hosts: int) -> Cluster:
    return cluster.model_copy(update={"hosts": hosts, "devices_per_host": world.local_size})


def _of_gpu(device: torch.device) -> Cluster:
    """The preset whose name is the GPU's and whose memory is as much; else TorchRec's constants."""
    found = torch.cuda.get_device_properties(device)
    gib = found.total_memory / GIB
    words = set(re.split(r"[\s-]+", found.name.lower()))
    for name in presets():
        cluster = load_cluster(name)
        model = name.partition("-")[0]
        if model in words and 0.8 * cluster.hbm_gb < gib < 1.2 * cluster.hbm_gb:
            return cluster.model_copy(update={"hbm_gb": gib, "ddr_gb": _host_gib()})
    return Cluster(
        name=found.name,
        hosts=1,
        devices_per_host=1,
        device="cuda",
        hbm_gb=gib,
        ddr_gb=_host_gib(),
        hbm_bw=HBM_MEM_BW / GBS,
        ddr_bw=DDR_MEM_BW / GBS,
        intra_bw=INTRA_NODE_BANDWIDTH / GBS,
        inter_bw=CROSS_NODE_BANDWIDTH / GBS,
        host_device_bw=HBM_TO_DDR_MEM_BW / GBS,
        source="TorchRec's defaults",
    )


def _host_gib() -> float:
    """Main memory of this host."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
