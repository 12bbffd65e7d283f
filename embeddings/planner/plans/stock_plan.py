"""TorchRec's planner; plans broadcast to all ranks, and as JSON."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
from torchrec.distributed.planner.types import ParameterConstraints, PlannerError
from torchrec.distributed.types import (
    EmbeddingModuleShardingPlan,
    ModuleSharder,
    ParameterSharding,
    ShardingPlan,
)

from embeddings.features import EmbeddingTable


class PlanError(ValueError):
    """No plan satisfies the constraints and the memory of the machine."""


def make_plan(
    module: nn.Module,
    constraints: dict[str, ParameterConstraints],
    *,
    sharders: list[ModuleSharder[nn.Module]],
    batch_size: int,
    world_size: int,
    local_world_size: int,
    device: torch.device,
    seconds: int,
    hbm_bytes: int,
) -> ShardingPlan:
    """TorchRec's planner on this process alone.

    Args:
        constraints: of each table, by name.
        batch_size: rows per rank.
        seconds: after which it takes the best plan so far; it looks between two proposals.
        hbm_bytes: of a device, in place of TorchRec's 32 GiB; unused on CPU.

    Raises PlanError with the planner's reason.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Topology.*")
        topology = Topology(
            world_size=world_size,
            local_world_size=local_world_size,
            compute_device=device.type,
            hbm_cap=hbm_bytes if device.type == "cuda" else None,
        )
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=batch_size,
        constraints=constraints,
        debug=False,
        timeout_seconds=seconds,
    )
    try:
        # The planner prints and logs its own table; ours is shorter and written to the run folder.
        with contextlib.redirect_stdout(io.StringIO()):
            return planner.plan(module, sharders)
    except PlannerError as error:
        reason = " ".join(str(error).split())
        types = {name for one in constraints.values() for name in one.sharding_types or ()}
        wanted = ", ".join(sorted(types)) or "any type"
        raise PlanError(f"no sharding plan ({wanted}, {world_size} ranks): {reason}") from error


def shared_plan(
    outcome: ShardingPlan | ValueError | None, group: dist.ProcessGroup
) -> ShardingPlan:
    """Return rank 0's result on every rank of `group`; its error is raised on all ranks.

    With TorchRec's collective_plan, the other ranks wait forever if rank 0 finds no plan.
    """
    box: list[Any] = [outcome]
    dist.broadcast_object_list(box, src=0, group=group)
    if isinstance(box[0], Exception):
        raise box[0]
    assert isinstance(box[0], ShardingPlan)
    return box[0]


def plan_to_json(plan: ShardingPlan, tables: Sequence[EmbeddingTable]) -> dict[str, Any]:
    """Return JSON values: one row per table, with its shards (offset and size: [rows, columns])."""
    parameters = _parameters(plan)
    rows = []
    for table in tables:
        sharding = parameters[table.name]
        width = 2 if table.dtype == "fp16" else 4
        shards = [
            {
                "offset": list(shard.shard_offsets),
                "size": list(shard.shard_sizes),
                "rank": shard.placement.rank(),
                "bytes": shard.shard_sizes[0] * shard.shard_sizes[1] * width,
            }
            for shard in (sharding.sharding_spec.shards if sharding.sharding_spec else [])
        ]
        rows.append(
            {
                "table": table.name,
                "rows": table.rows,
                "dim": table.dim,
                "dtype": table.dtype,
                "features": list(table.features),
                "sharding_type": sharding.sharding_type,
                "compute_kernel": sharding.compute_kernel,
                "ranks": list(sharding.ranks or []),
                "bytes": table.rows * table.dim * width,
                "shards": shards,
            }
        )
    return {"version": 1, "tables": rows}


def _parameters(plan: ShardingPlan) -> dict[str, ParameterSharding]:
    found: dict[str, ParameterSharding] = {}
    for module in plan.plan.values():
        assert isinstance(module, EmbeddingModuleShardingPlan)
        found.update(module)
    return found
