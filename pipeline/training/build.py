"""Builds the sharded model from the configuration and the schema of the data."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import torch

from embeddings.collection import build_bags, build_rows
from models.balancing.balance import Balance
from models.balancing.global_batch import GlobalBatch
from models.balancing.label_weights import LabelWeights
from models.layers.fused.kernels import why_not
from models.ranker import Head, Ranker, TowerInput
from models.tower import TowerFactory, init_weights
from pipeline.config.tree import Config
from pipeline.data.columns import input_layer
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.ranks.world import World, rank_mean
from pipeline.training.bf16 import wants_bf16
from pipeline.training.micro_batches import MicroBatches
from pipeline.training.parallelize import Parallel, parallelize
from pipeline.training.resolve_features import Selection
from pipeline.training.step import Loss, Step


def build(
    config: Config, chosen: Selection, world: World, tower: TowerFactory | None = None
) -> tuple[Step, Parallel]:
    """Build on the meta device, initialize the tower, shard. Collective.

    `tower`: used instead of `config.model.tower`.
    """
    step = build_step(config, chosen, world, tower)
    head = step.model.head
    head.tower.to_empty(device=world.device)
    try:
        init_weights(head.tower, config.train.seed)
    except ValueError as error:
        raise UserError(f"tower: {error}") from error
    if (attention := head.tower_input.attention) is not None:
        attention.to_empty(device=world.device)
        attention.init_weights(config.train.seed)
    if config.train.ema_decay:
        head.keep_ema(config.train.ema_decay)
    if config.train.compile == "on" or (
        config.train.compile == "auto" and world.device.type == "cuda"
    ):
        if step.loss.balance.takes_gradients:
            # Compiled backward would give its buffers away, and could not run again.
            torch._functorch.config.donated_buffer = False
        head.compile_tower()
    elif world.device.type == "cpu" and world.rank == 0 and (reason := why_not()):
        sys.stderr.write(f"homerec: the tower runs without compiled kernels, slower: {reason}\n")
    return step, parallelize(step, chosen.tables, config, world)


def build_step(
    config: Config, chosen: Selection, world: World, tower: TowerFactory | None = None
) -> Step:
    """Build the model with its loss on the meta device. Raises UserError for an invalid tower."""
    synchronized = config.model.sync_batch_norm and world.size > 1
    bf16 = wants_bf16(config.train.bf16, world)
    with torch.device("meta"):
        try:
            if tower is not None:
                dense = tower(chosen.num_features, chosen.tower_tasks)
            else:
                dense = config.model.tower.build(
                    num_features=chosen.num_features,
                    tasks=chosen.tower_tasks,
                    batch_mean=rank_mean if synchronized else None,
                )
        except ValueError as error:
            raise UserError(f"model.tower: {error}") from error
        attention = None
        if chosen.attention.events:
            dim = next(table.dim for table in chosen.tables if table.unpooled)
            attention = chosen.attention.build(dim)
        balance = _balance(config, chosen, world)
        head = Head(
            TowerInput(chosen.pooled, chosen.averaged, attention),
            dense,
            prior=[_base_logit(chosen.schema, task) for task in chosen.tasks],
            bf16=bf16,
            keeps_input=balance.takes_gradients,
        )
        loss = Loss(
            balance,
            head,
            _label_weights(config, chosen, world),
            _global_batch(world).mean if chosen.is_weighted else None,
        )
        hash_rows = chosen.schema.hash_rows(config.embeddings.hash_rows)
        inputs = input_layer(chosen.schema, chosen.features, hash_rows)
        bags = build_bags(chosen.tables, weighted=chosen.has_weighted_bags)
        rows_of = build_rows(chosen.tables)
        model = Ranker(inputs, bags, rows_of, head)
    rows = config.train.micro_batch_size
    if rows and balance.takes_gradients:
        raise UserError(
            f"train.micro_batch_size: {rows}: loss.balance.kind {config.loss.balance.kind} "
            "compares gradients of a step's rows all at once; take fixed or uncertainty, or 0"
        )
    return Step(model, loss, MicroBatches(head, loss, rows) if rows else None)


def _balance(config: Config, chosen: Selection, world: World) -> Balance:
    """Build the balance that combines the losses of tasks."""
    weights = _by_task(config.loss.task_weights, chosen)
    return config.loss.balance.build(weights, config.train.seed, _global_batch(world))


def _label_weights(config: Config, chosen: Selection, world: World) -> LabelWeights | None:
    """Build the weights of positives and negatives, if configured."""
    positive, keep = config.loss.positive_weights, config.loss.negative_sampling
    if not (positive or keep):
        return None
    seed, batch = config.train.seed, _global_batch(world)
    return LabelWeights(_by_task(positive, chosen), _by_task(keep, chosen), seed, batch)


def _by_task(values: Mapping[str, float], chosen: Selection) -> list[float]:
    return [values.get(task, 1.0) for task in chosen.tasks]


def _global_batch(world: World) -> GlobalBatch:
    return GlobalBatch(world.rank, world.size, rank_mean) if world.size > 1 else GlobalBatch()


def _base_logit(schema: Schema, task: str) -> float:
    """Return the log-odds of a task's rate in the training split."""
    rate = schema.rate(task)
    return math.log(rate / (1 - rate))
