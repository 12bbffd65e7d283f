"""What is to be planned, named on a command line: a recipe, a run, a checkpoint, a table list."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.planner.cluster import Cluster
from embeddings.planner.request import Request
from embeddings.planner.rules import Rule, offered
from embeddings.planner.tables import ListedTable, build_module, load_tables, usage
from pipeline.assemble import Selection, build_step, select
from pipeline.config import Config
from pipeline.data.schema import Schema
from pipeline.distributed import World
from pipeline.errors import UserError
from pipeline.overrides import amend, resolve
from pipeline.parallelize import mark_tables
from pipeline.recipes import RECIPES


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A model on meta and its tables; `global_batch` in rows, of a run alone."""

    module: nn.Module
    tables: tuple[ListedTable, ...]
    usage: dict[str, ParameterConstraints]
    global_batch: int | None

    def request(self, cluster: Cluster, batch_size: int | None, rules: Sequence[Rule]) -> Request:
        """`batch_size`: rows a rank; None: the run's batch, divided among the cluster's ranks.

        UserError where that does not come out even, and for a table list, which has no batch.
        """
        if batch_size is None:
            if self.global_batch is None:
                raise UserError("--batch-size: a table list has none; give rows a rank")
            if self.global_batch % cluster.ranks:
                raise UserError(
                    f"train.batch_size: {self.global_batch} rows do not divide by {cluster.ranks} "
                    "ranks; give rows a rank with --batch-size"
                )
            batch_size = self.global_batch // cluster.ranks
        return Request(
            module=self.module,
            cluster=cluster,
            batch_size=batch_size,
            usage=offered(self.usage, rules),
            rules=tuple(rules),
        )


def open_source(name: str, overrides: Sequence[str], world: World) -> Source:
    """The model that `name` means. UserError in one line.

    A recipe takes its schema from data.path, a run or checkpoint its own.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if overrides:
            raise UserError(f"{path}: a table list has no field {overrides[0]}; change the file")
        try:
            tables = load_tables(path)
        except ValueError as error:
            raise UserError(str(error)) from error
        return Source(
            module=build_module(tables), tables=tables, usage=usage(tables), global_batch=None
        )
    folder = path.parent if path.name == "config.json" else path
    if name not in RECIPES and folder.exists():
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no config.json in it; name a run's or checkpoint's folder")
        config = amend(Config.load(folder / "config.json"), None, None, overrides)
        schema = Schema.load(folder)
    else:
        if name not in RECIPES and path.parent != Path("."):
            raise UserError(f"{name}: no such folder or file; name a run, or a recipe")
        config = resolve(name, None, overrides)
        schema = Schema.load(config.data.path)
    return _of_run(config, select(config, schema), world)


def _of_run(config: Config, chosen: Selection, world: World) -> Source:
    step = build_step(config, chosen, world)
    mark_tables(step, config)
    tables = listed(chosen, config)
    constraints = {}
    for table, known in zip(chosen.tables, usage(tables).values(), strict=True):
        types = config.sharding.types_of(table)
        constraints[table.name] = dataclasses.replace(
            known,
            sharding_types=list(types) if config.sharding.types else None,
            min_partition=config.sharding.min_partition,
        )
        if not types:
            raise UserError(
                f"sharding.types: table {table.name!r}, whose rows model.attention needs, can be "
                f"none of {', '.join(config.sharding.types)}; add row_wise"
            )
    return Source(
        module=step, tables=tables, usage=constraints, global_batch=config.train.batch_size
    )


def listed(chosen: Selection, config: Config) -> tuple[ListedTable, ...]:
    """A run's tables as a plan's file lists them. Lengths of bags are not known: one id each."""
    return tuple(
        ListedTable(
            name=table.name,
            rows=table.rows,
            dim=table.dim,
            dtype=table.dtype,
            features=table.features,
            optimizer=config.sparse.kind,
            unpooled=table.unpooled,
        )
        for table in chosen.tables
    )
