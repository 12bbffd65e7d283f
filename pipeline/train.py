"""A run: train, evaluate, checkpoint, until done or told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pipeline.assemble import Selection, assemble, open_pipeline, select
from pipeline.batch import Batch
from pipeline.checkpoint import Checkpoints
from pipeline.checkpoint_folder import checkpoints_folder
from pipeline.config import Config
from pipeline.data.parquet import BatchSource
from pipeline.data.schema import Schema
from pipeline.distributed import World, agreed, on_first, share_buffers
from pipeline.errors import UserError
from pipeline.evaluate import evaluate, figure
from pipeline.monitor import Monitor
from pipeline.renew import renew_tables
from pipeline.run_folder import claim, describe, finish, show_best, write_results
from pipeline.run_progress import Progress
from pipeline.schedule import Schedule
from pipeline.step import StepOutput
from pipeline.storage import AnyPath
from pipeline.streams import open_split
from pipeline.tracking import Tracker
from pipeline.training_health import TrainingHealth
from pipeline.watch import Watch, check_finite, stop_requests
from pipeline.windowed_metrics import WindowedMetrics

# Samples of the window figures in training, over all ranks.
_WINDOW = 100_000

STOPPED = 143
"""Exit code of a run that a signal stopped after it had saved (128 + SIGTERM)."""


def train(config: Config, out: Path, world: World, *, resume: bool, overwrite: bool) -> int:
    """Train `config` into folder `out`. Returns the exit code.

    Every rank must call this. UserError for what the user can mend.
    """
    # Ranks may see different files: what fails on one must fail on all, or the others would wait.
    schema, chosen, source, validation = agreed(world, lambda: _open(config, world))
    step_module, parallel = assemble(config, chosen, world)
    model, optimizer, head = parallel.model, parallel.optimizer, step_module.model.head
    # Only now: a run that cannot start leaves no folder, and replaces none.
    folder = agreed(world, lambda: checkpoints_folder(config, out))
    _on_disk(world, claim, out, folder, resume, overwrite)

    pipeline = open_pipeline(parallel, world)
    windowed = WindowedMetrics(
        chosen.tasks,
        batch_size=config.train.batch_size // world.size,
        world_size=world.size,
        rank=world.rank,
        device=world.device,
        window=_WINDOW,
    )
    length = config.train.epochs * source.steps_per_epoch
    end = min(config.train.max_steps or length, length)
    schedule = Schedule(config.schedule, optimizer, length)
    checkpoints = Checkpoints(folder, world, config, schema)
    # Last, for a resume also brings back the random state, which building may have moved.
    torch.manual_seed(config.train.seed * world.size + world.rank)
    progress = Progress(select=config.train.select)
    if resume and (found := checkpoints.load_latest(model, optimizer)):
        progress = found.selecting(config.train.select)
        source.load_state_dict(progress.source)
    step = progress.step
    _on_disk(world, describe, out, folder, config, schema, parallel.plan, progress, end)
    checkpoints.claim()
    tracker = agreed(
        world, lambda: Tracker(out, rank=world.rank, total_steps=end, resume_step=step)
    )
    monitor = Monitor(
        tracker,
        windowed,
        chosen.tasks,
        world,
        batch_size=config.train.batch_size,
        log_every=config.train.log_every,
        rates={"dense": config.dense.lr, "sparse": config.sparse.lr},
        log_task_weights=config.loss.balance.kind != "fixed",
    )
    rates = {task: schema.rate(task) for task in chosen.tasks}
    looks = TrainingHealth(head, tracker, rates, config.health.every, progress.looks)
    eval_every = config.train.eval_every or source.steps_per_epoch
    save_every = config.checkpoint.every or eval_every
    stream = chain.from_iterable(repeat(source))  # epoch after epoch
    model.train()

    with stop_requests() as request, tracker, checkpoints:
        watch = Watch(world, chosen.tasks, source)
        while True:
            # Saved already: a kill in the middle of an evaluation costs that evaluation alone.
            due = step > 0 and (step % eval_every == 0 or step == end)
            if due and progress.evaluated_step != step and (step == end or not watch.stopping):
                checkpoints.wait()
                results, health = evaluate(model, pipeline, head, validation, chosen.tasks, world)
                tracker.log_results(step, results, split="val")
                if progress.note(figure(results, config.train.select)):
                    _on_disk(world, write_results, folder, step, results, looks.add_to(health))
                checkpoints.save(model, optimizer, progress)
                _on_disk(world, show_best, out, folder, progress.best_step)
            early = 0 < config.train.patience <= progress.evaluations_without_better
            if step >= end or watch.stopping or early:
                break
            # Between two events the pipeline runs full; at each event it is drained, so that
            # what the source has handed out is exactly what the model has learnt from.
            if source.steps_left == 0:
                renew_tables(parallel, chosen.tables, config, source.epoch + 1)
            epoch_end = step + (source.steps_left or source.steps_per_epoch)
            until = min(_next(step, eval_every), _next(step, save_every), epoch_end, end)
            whole = until
            if config.checkpoint.delta_every:
                until = min(until, _next(step, config.checkpoint.delta_every))
            feed = watch.feed(islice(stream, until - step))
            monitor.restart_clock()
            while (output := _advance(pipeline, feed, schedule, looks, step)) is not None:
                step += 1
                head.update_average()
                looks.after(step)
                monitor.update(step, output, schedule.last, last=step == end)
                saving = checkpoints.due or checkpoints.failed
                watch.after(step, output, stop=request.received, save=saving)
            watch.settle()
            delta = step < whole and not watch.save_due and not watch.stopping
            watch.save_due = False
            check_finite(model, step, world)
            share_buffers(head)
            progress.step, progress.source = step, source.state_dict()
            progress.looks = looks.remembered
            checkpoints.save(model, optimizer, progress, delta=delta)
    if watch.stopping and step < end:
        _say(world, f"stopped by a signal at step {step} of {end}, saved; go on with --resume")
        return STOPPED
    if early and step < end:
        _say(
            world,
            f"stopped early at step {step}: {config.train.patience} evaluations without a better "
            f"{config.train.select}",
        )
    _on_disk(world, finish, out, folder, schema)
    return 0


def _open(config: Config, world: World) -> tuple[Schema, Selection, BatchSource, BatchSource]:
    """What the configuration names, looked up and checked on this rank."""
    schema = Schema.load(config.data.path)
    chosen = select(config, schema)
    source = open_split(config, chosen, "train", world, purpose="train")
    return schema, chosen, source, open_split(config, chosen, "val", world, purpose="eval")


def _advance(
    pipeline: Any, feed: Iterator[Batch], schedule: Schedule, looks: TrainingHealth, step: int
) -> StepOutput | None:
    """One step, or None when `feed` has ended and the pipeline is drained."""
    schedule.set(step)
    looks.before(step + 1)
    try:
        output: StepOutput = pipeline.progress(feed)
    except StopIteration:
        return None
    return output


def _next(step: int, every: int) -> int:
    """The first multiple of `every` after `step`."""
    return (step // every + 1) * every


def _on_disk(world: World, write: Callable[..., None], out: AnyPath, *args: Any) -> None:
    """`write(out, ...)` on rank 0 while the others wait. A full disk is an error on all of them."""
    try:
        on_first(world, lambda: write(out, *args))
    except OSError as error:
        path = error.filename or out
        raise UserError(f"{path}: cannot be written: {error.strerror}; mend that") from error


def _say(world: World, message: str) -> None:
    if world.is_first:
        Console().print(message)
