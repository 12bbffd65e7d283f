"""Resolves the features, tables and tasks of a configuration in a prepared folder."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from embeddings.features import EmbeddingTable, build_tables, in_group_order, mean_pooled
from models.layers.config import AttentionConfig
from models.tasks import Task
from pipeline.config.tree import Config
from pipeline.data.schema import Label, Schema, SparseFeature
from pipeline.io.errors import UserError, nearest
from pipeline.metrics.spec import metric_named
from pipeline.training.check_attention import check_attention


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The features, tables and tasks of a prepared folder that a run uses."""

    schema: Schema
    features: tuple[SparseFeature, ...]
    labels: tuple[Label, ...]
    tables: tuple[EmbeddingTable, ...]
    averaged: tuple[str, ...]
    attention: AttentionConfig

    @property
    def tasks(self) -> list[str]:
        return [label.name for label in self.labels]

    @property
    def is_weighted(self) -> bool:
        """Whether rows have weights."""
        return self.schema.weight_column is not None

    @property
    def has_weighted_bags(self) -> bool:
        """Whether the values of some feature have weights."""
        return any(feature.weights is not None for feature in self.features)

    @property
    def tower_tasks(self) -> list[Task]:
        return [Task(name=label.name, category=label.category) for label in self.labels]

    @property
    def input_columns(self) -> list[tuple[str, int]]:
        """Name and width of the parts of the tower's input, in order: features, the output of
        attention ('attention'), and one column per dense feature."""
        dims = {feature: table.dim for table in self.tables for feature in table.features}
        attended = sum(2 * dims[name] for pairs in self.attention.events.values() for name in pairs)
        return [
            *((name, dims[name]) for name in self.pooled),
            *([("attention", attended)] if attended else []),
            *((feature.name, 1) for feature in self.schema.dense),
        ]

    @property
    def num_features(self) -> int:
        """F, the width of the tower's input."""
        return sum(width for _, width in self.input_columns)

    @property
    def pooled(self) -> list[str]:
        """The features that are in the tower's input directly."""
        apart = () if self.attention.bags else self.attention.histories
        return [feature.name for feature in self.features if feature.name not in apart]


def resolve_features(config: Config, schema: Schema) -> Selection:
    """Resolve the names of the configuration. Raises UserError for an unknown name."""
    path = config.data.path / "schema.json"
    names = _features(config, schema, path)
    schema = schema.model_copy(
        update={"dense": tuple(feature for feature in schema.dense if feature.name in names)}
    )
    chosen = _labels(config, schema, path)
    for field in ("task_weights", "positive_weights", "negative_sampling"):
        for task in getattr(config.loss, field):
            if task not in {label.name for label in chosen}:
                known = [label.name for label in chosen]
                raise UserError(f"loss.{field}.{task}: not trained here; {nearest(task, known)}")
    task, _, metric = config.train.select.rpartition("/")
    if schema.user_column is None and metric_named(metric).of_users:
        raise UserError(
            f"train.select: {config.train.select}: {path} has no user column, so there is no "
            f"{metric_named(metric).heading}; name the column of users in data.user and prepare "
            "again, or select mean/auc"
        )
    if task not in ("mean", *(label.name for label in chosen)):
        known = ["mean", *(label.name for label in chosen)]
        raise UserError(f"train.select: {task!r} is not a task of this run; {nearest(task, known)}")
    if not any(feature.name in names for feature in schema.sparse):
        raise UserError(f"data.features: no sparse feature of {path} is left; give at least one")
    ordered = in_group_order([feature for feature in schema.sparse if feature.name in names])
    attention = config.model.attention
    check_attention(attention, ordered, schema)
    sizes = {table.name: table.vocab_size for table in schema.tables}
    own = {t.name: t.unknown_rows for t in schema.tables if t.unknown_rows is not None}
    try:
        attended = {f.table for f in ordered if f.name in attention.histories}
        for feature in ordered:
            if feature.weights is not None and feature.table in attended:
                raise UserError(
                    f"model.attention: feature {feature.name!r} has weights, and rows of its table "
                    f"{feature.table!r} are looked up unpooled, without weights; leave it out with "
                    "--data.exclude, or remove the histories of this table from model.attention"
                )
        tables = build_tables(config.embeddings, ordered, sizes, attended, own)
        averaged = mean_pooled(config.embeddings, ordered)
    except ValueError as error:
        raise UserError(str(error)) from error
    if len({table.dim for table in tables if table.unpooled}) > 1:
        widths = ", ".join(f"{t.name} {t.dim}" for t in tables if t.unpooled)
        raise UserError(
            f"model.attention: its tables differ in width ({widths}), which TorchRec cannot look "
            "up unpooled together; set --embeddings.tables.NAME.dim"
        )
    return Selection(
        schema=schema,
        features=tuple(ordered),
        labels=tuple(chosen),
        tables=tables,
        averaged=tuple(averaged),
        attention=attention,
    )


def _features(config: Config, schema: Schema, path: Path) -> set[str]:
    """Return the names of the used features, sparse and dense."""
    known = schema.feature_names
    for field, patterns in (("features", config.data.features), ("exclude", config.data.exclude)):
        for pattern in patterns:
            # Patterns may match nothing, because recipes are for any folder; names must exist.
            if pattern not in known and not set("*?[") & set(pattern):
                raise UserError(
                    f"data.{field}: {pattern!r} is not a feature of {path}; "
                    f"{nearest(pattern, known)}"
                )
    return {
        name
        for name in known
        if any(fnmatchcase(name, pattern) for pattern in config.data.features or ("*",))
        and not any(fnmatchcase(name, pattern) for pattern in config.data.exclude)
    }


def _labels(config: Config, schema: Schema, path: Path) -> list[Label]:
    """Return the used labels: the given ones (by name or column), or the default ones."""
    known = {label.column: label for label in schema.labels}
    known |= {label.name: label for label in schema.labels}
    for name in config.data.tasks:
        if name not in known:
            names = [label.name for label in schema.labels]
            raise UserError(f"data.tasks: unknown task {name!r} in {path}; {nearest(name, names)}")
    if config.data.tasks:
        return [known[name] for name in config.data.tasks]
    if default := [label for label in schema.labels if label.default]:
        return default
    others = ", ".join(label.name for label in schema.labels)
    remedy = f"give some of {others}" if others else "prepare a folder with labels"
    raise UserError(f"data.tasks: no label of {path} is trained by default; {remedy}")
