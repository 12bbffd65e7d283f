"""The model to plan for, named on a command line: a recipe, a run, a checkpoint, a table list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.rules import Rule, offered
from embeddings.planner.inputs.table_list import ListedTable, build_module, load_tables, usage
from embeddings.planner.inputs.table_stats import TableStats
from embeddings.planner.inputs.training_setup import TrainingSetup
from pipeline.config.overrides import amend, resolve
from pipeline.config.recipes import RECIPES
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.training.build import build_step
from pipeline.training.find_sharding_plan import FROM_A_RUN, limits_of_run
from pipeline.training.parallelize import mark_tables
from pipeline.training.resolve_features import Selection, resolve_features


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A model on meta and its tables; `global_batch` in rows, of a run alone."""

    module: nn.Module
    tables: tuple[ListedTable, ...]
    usage: dict[str, ParameterConstraints]
    global_batch: int | None
    remake: Callable[[int | None, str | None], Source] | None = None
    """The same with all tables of another dim, or another type of weights."""
    schema: Schema | None = None
    """Of a run."""
    setup: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `TrainingSetup` that a run has of its own."""
    hash_rows: int = 0
    """Rows of each of a run's tables for ids outside its vocabulary."""

    def rows_a_rank(self, cluster: Cluster, batch_size: int | None) -> int:
        """`batch_size`; None: the run's batch, divided among the cluster's ranks.

        UserError where that does not come out even, and for a table list, which has no batch.
        """
        if batch_size is not None:
            return batch_size
        if self.global_batch is None:
            raise UserError("--batch-size: a table list has none; give rows a rank")
        if self.global_batch % cluster.ranks:
            raise UserError(
                f"train.batch_size: {self.global_batch} rows do not divide by {cluster.ranks} "
                "ranks; give rows a rank with --batch-size"
            )
        return self.global_batch // cluster.ranks

    def with_stats(self, stats: TableStats, rows: int, share: float) -> Source:
        """With tables used as `stats` say, in global batches of `rows` rows; ValueError."""
        tables = tuple(stats.with_stats(table, rows, share) for table in self.tables)
        return self._with_tables(tables)

    def _with_tables(self, tables: tuple[ListedTable, ...]) -> Source:
        """The run's own limits stay."""
        known = {
            name: dataclasses.replace(
                now,
                sharding_types=self.usage[name].sharding_types,
                min_partition=self.usage[name].min_partition,
            )
            for name, now in usage(tables).items()
        }
        return dataclasses.replace(self, tables=tables, usage=known)

    def request(
        self,
        cluster: Cluster,
        batch_size: int | None,
        rules: Sequence[Rule],
        setup: TrainingSetup | None = None,
    ) -> PlanRequest:
        """`batch_size`: as in `rows_a_rank`."""
        return PlanRequest(
            module=self.module,
            cluster=cluster,
            batch_size=self.rows_a_rank(cluster, batch_size),
            usage=offered(self.usage, rules),
            rules=tuple(rules),
            setup=setup or TrainingSetup(),
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
            return _of_list(load_tables(path))
        except ValueError as error:
            raise UserError(str(error)) from error
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
    return _of_run(config, schema, world)


def _of_list(tables: tuple[ListedTable, ...]) -> Source:
    def remake(dim: int | None, dtype: str | None) -> Source:
        changes: dict[str, Any] = {"dim": dim} if dim else {}
        changes |= {"dtype": dtype} if dtype else {}
        fields = [table.model_dump() | changes for table in tables]
        return _of_list(tuple(ListedTable.model_validate(table) for table in fields))

    return Source(
        module=build_module(tables),
        tables=tables,
        usage=usage(tables),
        global_batch=None,
        remake=remake,
    )


def _of_run(config: Config, schema: Schema, world: World) -> Source:
    chosen = resolve_features(config, schema)
    step = build_step(config, chosen, world)
    mark_tables(step, config)
    tables = listed(chosen, config)
    limits = limits_of_run(chosen.tables, config)
    constraints = {
        name: dataclasses.replace(
            known,
            sharding_types=limits[name].sharding_types,
            min_partition=limits[name].min_partition,
        )
        for name, known in usage(tables).items()
    }

    def remake(dim: int | None, dtype: str | None) -> Source:
        return _of_run(_with_tables_of(config, dim, dtype), schema, world)

    return Source(
        module=step,
        tables=tables,
        usage=constraints,
        global_batch=config.train.batch_size,
        remake=remake,
        schema=schema,
        setup={name: getattr(config.sharding, name) for name in FROM_A_RUN},
        hash_rows=config.embeddings.hash_rows,
    )


def _with_tables_of(config: Config, dim: int | None, dtype: str | None) -> Config:
    """A run whose tables all have one dim or type, those with their own too."""
    changes: dict[str, Any] = {"dim": dim, "small_dim": dim} if dim else {}
    changes |= {"dtype": dtype} if dtype else {}
    own = {"dim"} if dim else set()
    own |= {"dtype"} if dtype else set()
    tree = config.model_dump()
    tables = {
        name: {field: value for field, value in fields.items() if field not in own}
        for name, fields in tree["embeddings"]["tables"].items()
    }
    tree["embeddings"] |= changes | {"tables": tables}
    return Config.model_validate(tree)


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
