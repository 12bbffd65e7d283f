"""Configuration and data's schema to a model over ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from embeddings.collection import build_bags, build_rows
from models.balancing.global_batch import GlobalBatch
from models.balancing.label_weights import LabelWeights
from models.ranker import Head, Ranker
from pipeline.config.sections import Switch
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.ranks.world import World, rank_mean
from pipeline.training.micro_batches import MicroBatches
from pipeline.training.parallelize import Parallel, parallelize
from pipeline.training.resolve_features import Selection
from pipeline.training.step import Loss, Step


def assemble(config: Config, chosen: Selection, world: World) -> tuple[Step, Parallel]:
    """Build on meta, give the tower its weights, shard. Every rank must call this."""
    step = build_step(config, chosen, world)
    head = step.model.head
    weighted: tuple[Any, ...] = (head.tower, head.attention)
    for module in weighted:
        if module is not None:
            module.to_empty(device=world.device)
            module.init_weights(config.train.seed)
    if config.train.ema_decay:
        head.keep_average(config.train.ema_decay)
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
        step = Step(Ranker(build_bags(chosen.tables), build_rows(chosen.tables), head), loss)
    if rows := config.train.micro_batch_size:
        if loss.balance.takes_gradients:
            raise UserError(
                f"train.micro_batch_size: {rows}: loss.balance.kind {config.loss.balance.kind} "
                "compares gradients of a step's rows all at once; take fixed or uncertainty, or 0"
            )
        step.pieces = MicroBatches(head, loss, rows)
    return step


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
