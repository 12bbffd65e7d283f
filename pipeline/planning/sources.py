"""Loads the model to plan for: a recipe, a run, a checkpoint or a table list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.inputs.table_list import ListedTable, build_module, load_tables, usage
from embeddings.planner.inputs.table_stats import TableStats
from embeddings.planner.inputs.training_setup import TrainingSetup
from pipeline.io.errors import UserError

if TYPE_CHECKING:
    from pipeline.data.schema import Schema
    from pipeline.ranks.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A model on the meta device and its tables; `global_batch` in rows, for runs only."""

    module: nn.Module
    tables: tuple[ListedTable, ...]
    usage: dict[str, ParameterConstraints]
    global_batch: int | None
    remake: Callable[[int | None, str | None], Source] | None = None
    """Returns the same source with another dim or type for all tables."""
    schema: Schema | None = None
    """For a run: schema of its data."""
    setup: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `TrainingSetup` set by a run."""
    hash_rows: Mapping[str, int] = field(default_factory=dict)
    """For a run: rows of each table for ids outside its vocabulary."""

    def rows_a_rank(self, cluster: Cluster, batch_size: int | None) -> int:
        """`batch_size`; None: the run's batch, divided among the cluster's ranks.

        UserError where that does not come out even, and for a table list, which has no batch.
        """
        if batch_size is not None:
            return batch_size
        if self.global_batch is None:
            raise UserError("--batch-size: missing for a table list; give rows per rank")
        if self.global_batch % cluster.ranks:
            raise UserError(
                f"train.batch_size: {self.global_batch} rows do not divide by {cluster.ranks} "
                "ranks; give rows per rank with --batch-size"
            )
        return self.global_batch // cluster.ranks

    def with_stats(self, stats: TableStats, rows: int, share: float) -> Source:
        """Return the source with usage from `stats`, for global batches of `rows` rows.

        Raises ValueError if they do not match.
        """
        tables = tuple(stats.with_stats(table, rows, share) for table in self.tables)
        return self._with_tables(tables)

    def _with_tables(self, tables: tuple[ListedTable, ...]) -> Source:
        """Keep the limits of the run."""
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
            usage=self.usage,
            rules=tuple(rules),
            setup=setup or TrainingSetup(),
        )


def open_source(name: str, overrides: Sequence[str], world: World) -> Source:
    """The model that `name` means. UserError in one line."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if overrides:
            raise UserError(f"{path}: a table list has no field {overrides[0]}; change the file")
        try:
            return _of_list(load_tables(path))
        except ValueError as error:
            raise UserError(str(error)) from error
    # Towers, readers and their libraries are of no use to a table list, and take their time.
    from pipeline.planning.run_source import open_run

    return open_run(name, overrides, world)


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
