"""Evaluates a model on a split, with exact metrics for every task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.probe import probing
from models.ranker import Head
from models.tower import TowerFactory
from pipeline.checkpoint.layout import find_checkpoint
from pipeline.checkpoint.load import load_model
from pipeline.config.tree import Config
from pipeline.data.batch import NO_USER, Batch
from pipeline.data.batch_source import BatchSource
from pipeline.data.schema import SPLIT, Schema
from pipeline.expert_health.health import ExpertHealth
from pipeline.io.storage import AnyPath
from pipeline.metrics.amounts import AmountErrors
from pipeline.metrics.exact import ExactMetrics
from pipeline.ranks.coordinate import gather_or_raise
from pipeline.ranks.world import World
from pipeline.training.build import build
from pipeline.training.dataloader import OpenSplit
from pipeline.training.dataloader import open_split as open_parquet
from pipeline.training.resolve_features import Selection, resolve_features
from pipeline.training.step import StepOutput
from pipeline.training.train_pipeline import open_pipeline

Results = Mapping[str, Mapping[str, Any]]
Observer = Callable[[StepOutput], None]

# Number of evaluation batches with probed experts, sufficient for means over rows.
_PROBED = 4


def outputs(pipeline: Any, batches: Iterator[Any]) -> Iterator[StepOutput]:
    """Run every batch through the pipeline, until it is drained."""
    while True:
        try:
            yield pipeline.progress(batches)
        except StopIteration:
            return


@torch.no_grad()
@torch.random.fork_rng()  # evaluations must not affect random numbers of training
def evaluate(
    model: nn.Module,
    pipeline: Any,
    head: Head,
    source: Iterable[Batch],
    chosen: Selection,
    world: World,
    *,
    observe: Observer | None = None,
) -> tuple[Results, dict[str, Any]]:
    """Return metrics of every task over all ranks' rows, and the health of the experts.

    The pipeline must be drained. Collective; all ranks get the same metrics. `observe` is called
    with each output.
    """
    metrics = ExactMetrics(
        chosen.tasks,
        world.device,
        no_user=NO_USER,
        has_users=chosen.schema.user_column is not None,
        weighted=chosen.is_weighted,
    )
    health = ExpertHealth()
    model.eval()
    with ExitStack() as stack:
        probe = stack.enter_context(probing(head.active_tower))
        for seen, output in enumerate(outputs(pipeline, iter(source)), start=1):
            if seen <= _PROBED:
                health.update(probe)
            if seen == _PROBED:
                stack.close()
            batch = output.batch
            if observe is not None:
                observe(output)
            metrics.update(output.logits_BT, batch.labels, batch.weights, batch.users, batch.oracle)
    model.train()
    return metrics.compute(), health.compute()


def metric_value(results: Results, name: str) -> float | None:
    """Return TASK/METRIC of `results`; 'mean' averages over the tasks with a defined metric."""
    task, _, kind = name.rpartition("/")
    if task != "mean":
        value = results[task][kind]
        return None if value is None else float(value)
    values = [row[kind] for row in results.values() if row[kind] is not None]
    return sum(values) / len(values) if values else None


def evaluate_checkpoint(
    checkpoint: str | AnyPath,
    split: SPLIT,
    data: Path | None,
    world: World,
    *,
    tower: TowerFactory | None = None,
    open_split: OpenSplit = open_parquet,
    observe: Observer | None = None,
) -> tuple[Results, dict[str, Any]]:
    """Load a checkpoint (or a run's best one) and evaluate it; also returns what was evaluated.

    The latter has "amounts", the errors of expected values, if labels have limits. `tower` and
    `open_split` must be those of the training run (see `train`).
    """
    folder = gather_or_raise(world, lambda: find_checkpoint(checkpoint))
    config = gather_or_raise(world, lambda: Config.load(folder / "config.json"))
    # Plan file and replica groups are for the training ranks; metrics do not depend on the plan.
    sharding = config.sharding.model_copy(update={"plan": None, "replica_groups": 1})
    config = config.model_copy(update={"sharding": sharding})
    if data is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"path": data})})

    def opened() -> tuple[Selection, BatchSource]:
        trained, found = Schema.load(folder), Schema.load(config.data.path)
        chosen = resolve_features(config, trained.with_splits_of(found, config.data.path))
        return chosen, open_split(config, chosen, split, world, purpose="eval")

    chosen, source = gather_or_raise(world, opened)
    step, parallel = build(config, chosen, world, tower)
    load_model(folder, parallel.model, world)
    pipeline = open_pipeline(parallel, world)
    amounts = AmountErrors(config.data.labels, chosen.tasks, world.device)

    def observed(output: StepOutput) -> None:
        if observe is not None:
            observe(output)
        if amounts.names:
            amounts.update(output.logits_BT, output.batch.labels, output.batch.weights)

    results, _ = evaluate(
        parallel.model, pipeline, step.model.head, source, chosen, world, observe=observed
    )
    what = {"checkpoint": str(folder), "split": split, "data": str(config.data.path)}
    return results, what | ({"amounts": amounts.compute()} if amounts.names else {})
