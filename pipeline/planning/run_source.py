"""A recipe, a run or a checkpoint as a source: its model on meta, its tables, its limits."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embeddings.planner.inputs.table_list import ListedTable, usage
from pipeline.config.auto import derive
from pipeline.config.overrides import amend, resolve
from pipeline.config.recipes import RECIPES, demo
from pipeline.config.tree import Config
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.io.files import has_file
from pipeline.planning.sources import Source
from pipeline.ranks.world import World
from pipeline.training.build import build_step
from pipeline.training.find_sharding_plan import FROM_A_RUN, limits_of_run
from pipeline.training.parallelize import mark_tables
from pipeline.training.resolve_features import Selection, resolve_features

DEMO_COMMAND = "'homerec prepare synthetic --out data/demo'"
DEMO_ROWS = 300_000
"""That it makes."""


def open_run(name: str, overrides: Sequence[str], world: World) -> Source:
    """The model of a recipe, a run, its config.json, or a checkpoint. UserError in one line.

    A recipe takes its schema from data.path, a run or checkpoint its own.
    """
    path = Path(name)
    folder = path.parent if path.name == "config.json" else path
    if name not in RECIPES and folder.exists():
        if not has_file(folder / "config.json"):
            raise UserError(f"{folder}: no config.json in it; name a run's or checkpoint's folder")
        config = amend(Config.load(folder / "config.json"), None, None, overrides)
        schema = Schema.load(folder)
    else:
        if name not in RECIPES and path.parent != Path("."):
            raise UserError(f"{name}: no such folder or file; name a run, or a recipe")
        config = resolve(name, None, overrides)
        schema = _schema_of(config)
    return run_source(config, schema, world)


def _schema_of(config: Config) -> Schema:
    """That of data.path; the demo's data are drawn, so that a plan of it needs none prepared."""
    folder = config.data.path
    if folder != demo().data.path or folder.exists():
        return Schema.load(folder)
    sys.stderr.write(f"homerec: {folder} is not there: planned for what {DEMO_COMMAND} makes\n")
    with tempfile.TemporaryDirectory() as scratch:
        return prepare_synthetic(Path(scratch) / "demo", rows=DEMO_ROWS, seed=0)


def run_source(config: Config, schema: Schema, world: World) -> Source:
    """What a run of `config` on data of `schema` would train."""
    config, _ = derive(config, schema)
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
        return run_source(_with_tables_of(config, dim, dtype), schema, world)

    return Source(
        module=step,
        tables=tables,
        usage=constraints,
        global_batch=config.train.batch_size,
        remake=remake,
        schema=schema,
        setup={name: getattr(config.sharding, name) for name in FROM_A_RUN},
        hash_rows=schema.hash_rows(config.embeddings.hash_rows),
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
            weighted=chosen.has_weighted_bags and not table.unpooled,
        )
        for table in chosen.tables
    )
