"""2D parallelism: tables sharded within groups of ranks, and averaged over the groups.

With W ranks in G groups, group g has ranks g, g + G, ..., so that the copies of a shard are on
adjacent ranks. Each group updates its tables with its ranks' samples; every `sync_every` steps
weights and accumulators are averaged over groups. The gradients of tower and replicated tables are
averaged over all ranks.
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel, DMPCollection
from torchrec.distributed.types import (
    DMPCollectionContext,
    ModuleSharder,
    ShardingEnv2D,
    ShardingPlan,
    ShardingStrategy,
    ShardMetadata,
)

from embeddings.config import ShardingConfig
from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.training.data_parallel import data_parallel
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput


def group_shape(config: ShardingConfig, world: World) -> tuple[int, int]:
    """Return the ranks of a group, and ranks per host. Raises UserError for uneven groups."""
    groups, local = config.replica_groups, world.local_size
    if world.size % groups:
        raise UserError(
            f"sharding.replica_groups: {groups} groups do not divide {world.size} ranks; use a "
            "divisor, or other ranks"
        )
    if groups > 1 and config.plan is not None:
        raise UserError(
            f"sharding.plan: {config.plan} cannot be followed with sharding.replica_groups "
            f"{groups}, whose groups are planned separately; use --sharding.plan ''"
        )
    if local % groups and groups % local:
        raise UserError(
            f"sharding.replica_groups: {groups} groups do not split hosts of {local} ranks evenly; "
            "use a divisor or a multiple of the ranks per host"
        )
    return world.size // groups, max(1, local // groups)


class GroupedModel(DMPCollection):
    """TorchRec's DMPCollection on any device, with table state as ShardedTensors over the group.

    DMPCollection's constructor in TorchRec 1.8 rejects the CPU and makes DTensors, which
    checkpoints here do not read. This constructor replaces it, so it sets the private attributes
    that DMPCollection's methods read; there is no public way. Compare both when TorchRec changes.
    """

    def __init__(
        self,
        module: nn.Module,
        plan: ShardingPlan,
        *,
        groups: int,
        local_size: int,
        sharders: list[ModuleSharder[Any]],
        world: World,
    ) -> None:
        """`plan`: for one group's ranks; becomes this rank's group's. `local_size`: a group's
        ranks on a host."""
        size = world.size // groups
        self._device = world.device
        self._pg = dist.group.WORLD
        self._global_rank = world.rank
        self._custom_all_reduce = None
        self._use_sharded_relay = False
        self._sharded_relay_state = None
        context = DMPCollectionContext(
            module=None, plan=plan, sharding_group_size=size, node_group_size=local_size
        )
        self._default_ctx, self._ctxs = context, [context]
        self._submodule_ctxs: list[DMPCollectionContext] = []
        made = self._create_process_groups(world.rank, world.size, size)
        context.device_mesh, context.sharding_pg, context.replica_pg = made
        self._remap_sharding_plan(plan, world.rank, groups, size)
        if world.device.type == "cpu":
            _without_index(plan)
        env = ShardingEnv2D(
            global_pg=self._pg,
            sharding_pg=context.sharding_pg,
            replica_pg=context.replica_pg,
            device_mesh=context.device_mesh,
            node_group_size=local_size,
            sharding_strategy=ShardingStrategy.DEFAULT,
        )
        env.output_dtensor = False
        DistributedModelParallel.__init__(
            self,
            module,
            env,
            world.device,
            plan,
            sharders,
            data_parallel_wrapper=data_parallel(world.size),
        )
        self._group_sharded_modules(self._ctxs)
        self._cache_sync_tensors(self._ctxs)


def _without_index(plan: ShardingPlan) -> None:
    """TorchRec places shards on cpu:N, but tensors are on cpu."""
    for module in plan.plan.values():
        for sharding in module.values():
            for shard in sharding.sharding_spec.shards if sharding.sharding_spec else []:
                shard.placement = ShardMetadata(
                    shard_offsets=shard.shard_offsets,
                    shard_sizes=shard.shard_sizes,
                    placement=f"rank:{shard.placement.rank()}/cpu",
                ).placement


class ReplicaGroupSync(Hook):
    """Averages the tables over groups; does nothing without groups."""

    def __init__(self, model: nn.Module, config: ShardingConfig) -> None:
        self._model = model if isinstance(model, GroupedModel) else None
        self._every = config.sync_every
        self._behind = False

    def after_step(self, step: int, output: StepOutput) -> None:
        """Call before the next step's lookups."""
        self._behind = True
        if step % self._every == 0:
            self._average()

    def after_segment(self, step: int) -> None:
        """Call before the tables are read."""
        self._average()

    def _average(self) -> None:
        """Average over groups, if there was a step since the last average."""
        if self._model is not None and self._behind:
            self._model.sync()
        self._behind = False
