"""Loads the plan file of a run, if it matches the ranks and tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torchrec.distributed.types import ShardingPlan

from embeddings.config import SHARDING_TYPES, UNPOOLED_TYPES
from embeddings.features import EmbeddingTable
from embeddings.planner.inputs.rules import ASKED_FOR
from embeddings.planner.plans.plan_file import PlanFile, load_plan
from embeddings.sharders import cpu_kernels
from pipeline.io.errors import UserError
from pipeline.ranks.world import World

_REMEDY = "plan this run ('homerec plan RECIPE --cluster .. --out FILE'), or --sharding.plan ''"


def plan_from_file(
    path: Path, module: nn.Module, tables: Sequence[EmbeddingTable], world: World
) -> ShardingPlan:
    """Return the plan of the file for `module`.

    Raises UserError for another number of ranks, including those an elastic job may have; for other
    tables, or kernels that the device does not support.
    """
    fewest, colon, most = os.environ.get("HOMEREC_NNODES", "").partition(":")
    if colon and fewest != most:
        raise UserError(
            f"sharding.plan: {path}: a plan is for one number of ranks, but this job continues "
            f"with {fewest} to {most} machines; use --sharding.plan '' (each start plans again), "
            f"or --nnodes {most}"
        )
    try:
        file = load_plan(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    problem = _other_ranks(file, world) or _other_tables(file, module, tables) or _not_run(file)
    if problem:
        raise UserError(f"{path}: {problem}; {_REMEDY}")
    return file.sharding_plan()


def _other_ranks(file: PlanFile, world: World) -> str | None:
    cluster, device = file.cluster, world.device.type
    if cluster.ranks != world.size:
        return f"made for {cluster.ranks} ranks, but this run has {world.size}"
    if cluster.devices_per_host != world.local_size:
        return (
            f"made for {cluster.devices_per_host} ranks per host, but this run has "
            f"{world.local_size}"
        )
    if cluster.device != device:
        return f"made for {cluster.device}, but this run is on {device}"
    return None


def _other_tables(
    file: PlanFile, module: nn.Module, tables: Sequence[EmbeddingTable]
) -> str | None:
    planned = {placed.table.name: placed for placed in file.tables}
    for table in tables:
        if table.name not in planned:
            return f"lacks table {table.name!r} of this run"
        other = planned.pop(table.name).table
        for field in ("rows", "dim", "dtype", "unpooled"):
            theirs, ours = getattr(other, field), getattr(table, field)
            if theirs != ours:
                return f"table {table.name!r} has {field} {theirs} there and {ours} in this run"
        if other.feature_names != table.features:
            theirs, ours = ", ".join(other.feature_names), ", ".join(table.features)
            return f"table {table.name!r} serves {theirs} there and {ours} in this run"
    if planned:
        return f"has a table {next(iter(planned))!r}, which this run lacks"
    paths = {path for path, _ in module.named_modules()}
    for placed in file.tables:
        if placed.path not in paths:
            return f"made for a model whose tables are in {placed.path!r}, which this run lacks"
    return None


def _not_run(file: PlanFile) -> str | None:
    for placed in file.tables:
        kind, kernel, unpooled = placed.sharding_type, placed.compute_kernel, placed.table.unpooled
        if kind not in (types := UNPOOLED_TYPES if unpooled else SHARDING_TYPES):
            return f"table {placed.table.name!r} is {kind} there and can be {', '.join(types)}"
        if kernel in ASKED_FOR:
            return (
                f"table {placed.table.name!r} has kernel {kernel!r} there, which runs do not train"
            )
        if file.cluster.device == "cpu":
            kernels = cpu_kernels(kind, unpooled=unpooled)
            if kernel not in kernels:
                return (
                    f"table {placed.table.name!r} has kernel {kernel!r} there; {kind} on CPU it "
                    f"can have {' or '.join(kernels)}"
                )
    return None
