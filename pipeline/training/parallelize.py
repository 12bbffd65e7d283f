"""Shards a model on the meta device over ranks. Only this module and replica_groups.py use
DistributedModelParallel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.types import ShardedTensor, ShardingEnv, ShardingPlan
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizer
from torchrec.optim.optimizers import in_backward_optimizer_filter

from embeddings.empty_shards import pad_empty_shards
from embeddings.features import EmbeddingTable
from embeddings.fused_optimizer import in_backward
from embeddings.initialize import fill_shard
from embeddings.optimizer_mark import mark
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.plans.stock_plan import PlanError, plan_to_json, shared_plan
from embeddings.sharders import all_sharders, sent_as
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.ranks.slow_notice import notice_if_slow
from pipeline.ranks.world import World
from pipeline.training.batch_size import batch_sizes
from pipeline.training.data_parallel import data_parallel
from pipeline.training.find_sharding_plan import (
    find_sharding_plan,
    least_memory,
    planning_seconds,
)
from pipeline.training.optim.optimizer import TOWER, RunOptimizer
from pipeline.training.replica_groups import GroupedModel, group_shape
from pipeline.training.step import Step

# Attribute names of the tables' module in the two kinds of collection.
_TABLE_PARENTS = ("embedding_bags", "embeddings")


@dataclass(slots=True, kw_only=True)
class Parallel:
    """A step over ranks: `model` trains, `optimizer` steps both halves, `plan` is JSON data."""

    model: DistributedModelParallel
    optimizer: RunOptimizer
    plan: dict[str, Any]


def parallelize(
    step: Step, tables: Sequence[EmbeddingTable], config: Config, world: World
) -> Parallel:
    """Mark tables with their optimizer, plan, shard, initialize tables, add the dense optimizer.

    `step` is on the meta device, except for the initialized tower. Collective. Raises UserError on
    all ranks if no plan fits.
    """
    mark_tables(step, config)
    _, local_size = group_shape(config.sharding, world)
    rows = batch_sizes(config.train, world.size).per_rank
    sending = config.sharding
    sharders = all_sharders(sent_as(sending.qcomm_forward, sending.qcomm_backward, rows))
    outcome: ShardingPlan | PlanError | UserError | None = None
    memory = least_memory(world)
    with notice_if_slow(_planning(tables, config, world)):
        if world.is_first:
            try:
                outcome = find_sharding_plan(
                    step, tables, config, sharders=sharders, world=world, memory=memory
                )
            except (PlanError, UserError) as error:
                outcome = error
        try:
            plan = shared_plan(outcome, world.control)
        except Infeasible as error:  # the message includes relaxations
            raise UserError(str(error)) from error
        except PlanError as error:
            raise UserError(f"{error}; change --sharding.types or the number of ranks") from error

    if (groups := config.sharding.replica_groups) > 1:
        model: DistributedModelParallel = GroupedModel(
            step, plan, groups=groups, local_size=local_size, sharders=sharders, world=world
        )
    else:
        model = DistributedModelParallel(
            step,
            env=ShardingEnv.from_process_group(torch.distributed.group.WORLD),
            device=world.device,
            plan=plan,
            sharders=sharders,
            data_parallel_wrapper=data_parallel(world.size),
        )
    pad_empty_shards(model)
    fill_tables(model, tables, config)
    found = plan_to_json(plan, tables)
    return Parallel(model=model, optimizer=_optimizer(model, config, found), plan=found)


def _planning(tables: Sequence[EmbeddingTable], config: Config, world: World) -> str:
    """Return a message for ranks that wait for the plan."""
    who = "searching" if world.is_first else "waiting for rank 0, which searches"
    return (
        f"rank {world.rank}: {who} for a sharding plan ({len(tables)} tables, {world.size} ranks); "
        f"the search ends within {planning_seconds(config):g} s, and ranks wait "
        f"{config.train.timeout} s (--train.timeout)"
    )


def mark_tables(step: Step, config: Config) -> None:
    """Mark tables with their fused optimizer, which sharding and planner use."""
    optimizer_class, arguments = in_backward(config.sparse)
    for module in step.modules():
        if isinstance(module, (EmbeddingBagCollection, EmbeddingCollection)):
            mark(module.parameters(), optimizer_class, arguments)


def fill_tables(
    model: nn.Module, tables: Sequence[EmbeddingTable], config: Config, *, epoch: int = 0
) -> None:
    """Initialize every local shard independently of the plan.

    Weights depend on the epoch, for tables that are reset.
    """
    dims = {table.name: table.dim for table in tables}
    for name, value in model.state_dict().items():
        table = table_of(name)
        if table not in dims:
            continue
        if isinstance(value, ShardedTensor):
            parts = [(shard.tensor, shard.metadata.shard_offsets) for shard in value.local_shards()]
        else:
            parts = [(value, [0, 0])]
        for weight, (row_offset, column_offset) in parts:
            fill_shard(
                weight.detach(),
                seed=config.train.seed,
                table=f"{table}@{epoch}" if epoch else table,
                row_offset=row_offset,
                column_offset=column_offset,
                dim=dims[table],
                scale=config.embeddings.init_scale,
            )


def tower_optimizer(optimizer: CombinedOptimizer) -> KeyedOptimizer:
    """The part for all that is no table."""
    return dict(optimizer.optimizers)[TOWER]


def table_of(name: str) -> str | None:
    """Return the table of the parameter `name`, if it is the weight of a table."""
    *_, parent, table, leaf = ("", "", *name.split("."))
    return table if parent in _TABLE_PARENTS and leaf == "weight" else None


def _optimizer(
    model: DistributedModelParallel, config: Config, plan: dict[str, Any]
) -> RunOptimizer:
    outside = dict(in_backward_optimizer_filter(model.named_parameters()))
    unfused = {name: p for name, p in outside.items() if table_of(name)}
    return RunOptimizer(
        model.fused_optimizer,
        tower={name: p for name, p in outside.items() if name not in unfused and p.requires_grad},
        # A rank has an empty parameter for tables on other ranks.
        tables={name: p for name, p in unfused.items() if p.numel()},
        dense=config.dense,
        sparse=config.sparse,
        has_shards=any(
            table["compute_kernel"] == "dense" and table["sharding_type"] != "data_parallel"
            for table in plan["tables"]
        ),
    )
