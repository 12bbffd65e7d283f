"""Configuration and data's schema to a model over ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from embeddings.collection import build_bags, build_rows
from embeddings.features import Table, build_tables, in_group_order, mean_pooled
from models.attention import AttentionConfig
from models.global_batch import GlobalBatch
from models.label_weights import LabelWeights
from models.ranker import Head, Ranker
from models.tasks import Task
from pipeline.attention import check_attention
from pipeline.batch import Batch
from pipeline.config import Config, Switch
from pipeline.data.schema import Label, Schema, SparseFeature
from pipeline.distributed import World, rank_mean
from pipeline.errors import UserError, nearest
from pipeline.parallelize import Parallel, parallelize
from pipeline.step import Loss, Step, StepOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a prepared folder a run uses."""

    schema: Schema
    features: tuple[SparseFeature, ...]
    labels: tuple[Label, ...]
    tables: tuple[Table, ...]
    averaged: tuple[str, ...]
    attention: AttentionConfig

    @property
    def tasks(self) -> list[str]:
        return [label.name for label in self.labels]

    @property
    def tower_tasks(self) -> list[Task]:
        return [Task(name=label.name, category=label.category) for label in self.labels]

    @property
    def num_features(self) -> int:
        """F, the width of the tower's input."""
        dims = {feature: table.dim for table in self.tables for feature in table.features}
        attended = sum(2 * dims[name] for pairs in self.attention.events.values() for name in pairs)
        return sum(dims[name] for name in self.pooled) + attended + len(self.schema.dense)

    @property
    def pooled(self) -> list[str]:
        """The features that stand in the tower's input by themselves."""
        apart = () if self.attention.bags else self.attention.histories
        return [feature.name for feature in self.features if feature.name not in apart]


def select(config: Config, schema: Schema) -> Selection:
    """The configuration's names looked up in the folder. UserError for an unknown one."""
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
    task = config.train.select.rpartition("/")[0]
    if task not in ("mean", *(label.name for label in chosen)):
        known = ["mean", *(label.name for label in chosen)]
        raise UserError(f"train.select: {task!r} is no task of this run; {nearest(task, known)}")
    if not any(feature.name in names for feature in schema.sparse):
        raise UserError(f"data.features: no sparse feature of {path} is left; name at least one")
    ordered = in_group_order([feature for feature in schema.sparse if feature.name in names])
    attention = config.model.attention
    check_attention(attention, ordered, schema)
    sizes = {table.name: table.vocab_size for table in schema.tables}
    try:
        attended = {f.table for f in ordered if f.name in attention.histories}
        tables = build_tables(config.embeddings, ordered, sizes, attended)
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
    """Names of the features in use, sparse and dense."""
    known = schema.feature_names
    for field, patterns in (("features", config.data.features), ("exclude", config.data.exclude)):
        for pattern in patterns:
            # A pattern may match nothing here: recipes are for any folder. A name may not.
            if pattern not in known and not set("*?[") & set(pattern):
                raise UserError(
                    f"data.{field}: {pattern!r} is no feature of {path}; {nearest(pattern, known)}"
                )
    return {
        name
        for name in known
        if any(fnmatchcase(name, pattern) for pattern in config.data.features or ("*",))
        and not any(fnmatchcase(name, pattern) for pattern in config.data.exclude)
    }


def _labels(config: Config, schema: Schema, path: Path) -> list[Label]:
    """The labels in use: those named (a label also by its column), or the folder's default ones."""
    known = {label.column: label for label in schema.labels}
    known |= {label.name: label for label in schema.labels}
    for name in config.data.tasks:
        if name not in known:
            names = [label.name for label in schema.labels]
            raise UserError(f"data.tasks: unknown task {name!r} in {path}; {nearest(name, names)}")
    if config.data.tasks:
        return [known[name] for name in config.data.tasks]
    return [label for label in schema.labels if label.default]


def assemble(config: Config, chosen: Selection, world: World) -> tuple[Step, Parallel]:
    """Build on meta, give the tower its weights, shard. Every rank must call this."""
    step = build_step(config, chosen, world)
    head = step.model.head
    weighted: tuple[Any, ...] = (head.tower, head.attention)
    for module in weighted:
        if module is not None:
            module.to_empty(device=world.device)
            module.init_weights(config.train.seed)
    if config.train.average:
        head.keep_average(config.train.average)
    if config.train.compile == "on" or (
        config.train.compile == "auto" and world.device.type == "cuda"
    ):
        if step.loss.balance.takes_gradients:
            # Compiled backward would give its buffers away, and refuse to run again.
            torch._functorch.config.donated_buffer = False
        head.compile_tower()
    return step, parallelize(step, chosen.tables, config, world)


def build_step(config: Config, chosen: Selection, world: World) -> Step:
    """The model with its loss, all on meta. UserError for a tower that cannot be."""
    synchronised = config.model.sync_batch_norm and world.size > 1
    with torch.device("meta"):
        try:
            tower = config.model.tower.build(
                num_features=chosen.num_features,
                tasks=chosen.tower_tasks,
                batch_mean=rank_mean if synchronised else None,
            )
        except ValueError as error:
            raise UserError(f"model.tower: {error}") from error
        attention = None
        if chosen.attention.events:
            dim = next(table.dim for table in chosen.tables if table.unpooled)
            attention = chosen.attention.build(dim)
        head = Head(
            tower,
            chosen.pooled,
            prior=[_base_logit(chosen.schema, task) for task in chosen.tasks],
            averaged=chosen.averaged,
            bf16=_bf16(config.train.bf16, world.device),
            attention=attention,
        )
        loss = _loss(config, chosen, head, world)
        return Step(Ranker(build_bags(chosen.tables), build_rows(chosen.tables), head), loss)


def _loss(config: Config, chosen: Selection, head: Head, world: World) -> Loss:
    """The loss that the configuration describes."""

    def by_task(values: Mapping[str, float]) -> list[float]:
        return [values.get(task, 1.0) for task in chosen.tasks]

    together = GlobalBatch(world.rank, world.size, rank_mean) if world.size > 1 else GlobalBatch()
    positive, keep = config.loss.positive_weights, config.loss.negative_sampling
    return Loss(
        config.loss.balance.build(by_task(config.loss.task_weights), config.train.seed, together),
        head,
        LabelWeights(by_task(positive), by_task(keep), config.train.seed, together)
        if positive or keep
        else None,
    )


def _base_logit(schema: Schema, task: str) -> float:
    """The log-odds of a task's rate in the training split."""
    rate = schema.rate(task)
    return math.log(rate / (1 - rate))


def _bf16(switch: Switch, device: torch.device) -> bool:
    """Whether to compute the tower in bfloat16.

    CPUs with the same flag differ: against fp32, AVX512-BF16 products were seen at twice the speed
    (AMD Zen 4) and at half of it (an Intel without AMX).
    """
    if switch != "auto":
        return switch == "on"
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def open_pipeline(
    parallel: Parallel, world: World, optimizer: Any = None
) -> TrainPipelineSparseDist[Batch, StepOutput]:
    """Input distribution of the next batch overlaps the current batch's forward and backward."""
    return TrainPipelineSparseDist(
        parallel.model,
        optimizer or parallel.optimizer,
        world.device,
        execute_all_batches=True,
        # It would count its own batches, evaluations' and those after a resume anew: see Averaging.
        dmp_collection_sync_interval_batches=None,
    )
