"""A run: train, evaluate, checkpoint, until done or told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pipeline.checkpoint.layout import checkpoints_folder
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.data.parquet_source import BatchSource
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate, figure
from pipeline.expert_health.probes import TrainingHealth
from pipeline.faults.bad_step_policy import Refusals, is_out_of_memory
from pipeline.faults.finite_weights import check_finite
from pipeline.faults.in_flight import Watch
from pipeline.faults.replica_consistency import check_replicas
from pipeline.faults.step_guard import Guard
from pipeline.faults.stop_signals import stop_requests
from pipeline.faults.stragglers import SlowRanks
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.io.storage import AnyPath
from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.coordinate import gather_or_raise, run_on_rank0
from pipeline.ranks.world import World, share_buffers
from pipeline.run_folder import claim, describe, finish, show_best, write_results
from pipeline.tracking.monitor import Monitor
from pipeline.tracking.tracker import Tracker
from pipeline.training.batch_size import step_rows
from pipeline.training.build import assemble
from pipeline.training.dataloader import open_split
from pipeline.training.deterministic import make_deterministic
from pipeline.training.replica_groups import Averaging
from pipeline.training.reset_tables import renew_tables
from pipeline.training.resolve_features import Selection, select
from pipeline.training.schedule import Schedule
from pipeline.training.step import StepOutput
from pipeline.training.train_pipeline import open_pipeline

# Samples of the window figures in training, over all ranks.
_WINDOW = 100_000


def train(config: Config, out: Path, world: World, *, resume: bool, overwrite: bool) -> int:
    """Train `config` into folder `out`. Returns the exit code.

    Every rank must call this. UserError for what the user can mend.
    """
    rows = step_rows(config.train, world.size)
    if config.train.deterministic:
        make_deterministic()
    # Ranks may see different files: what fails on one must fail on all, or the others would wait.
    schema, chosen, source, validation = gather_or_raise(world, lambda: _open(config, world))
    step_module, parallel = assemble(config, chosen, world)
    model, optimizer, head = parallel.model, parallel.optimizer, step_module.model.head
    dense = [feature.name for feature in chosen.schema.dense]
    guard = Guard(head, step_module.loss, config.faults, world, dense)
    pipeline = open_pipeline(parallel, world, guard.optimizer(optimizer), config)
    # Only now: a run that cannot start leaves no folder, and replaces none.
    folder = gather_or_raise(world, lambda: checkpoints_folder(config, out))
    _on_disk(world, claim, out, folder, resume, overwrite)
    windowed = WindowedMetrics(
        chosen.tasks,
        batch_size=rows.per_rank,
        world_size=world.size,
        rank=world.rank,
        device=world.device,
        window=_WINDOW,
    )
    checkpoints = Checkpoints(folder, world, config, schema)
    # Last, for a resume also brings back the random state, which building may have moved.
    torch.manual_seed(config.train.seed * world.size + world.rank)
    progress = Progress(select=config.train.select)
    if resume and (found := checkpoints.load_latest(model, optimizer, windowed)):
        progress = found.selecting(config.train.select)
        source.load_state_dict(progress.source)
        if progress.world_size != world.size:
            _say(world, f"{progress.world_size} ranks saved this, {world.size} go on with it")
    length = _length(config, source, progress.step)
    end = min(config.train.max_steps or length, length)
    at = progress.step if progress.scheduled is None else progress.scheduled
    schedule = Schedule(config.schedule, optimizer, length - progress.step, rows=rows, at=at)
    step = world.pulse.step = progress.step
    _on_disk(world, describe, out, folder, config, schema, parallel.plan, progress, end)
    checkpoints.claim()
    tracker = gather_or_raise(
        world, lambda: Tracker(out, rank=world.rank, total_steps=end, resume_step=step)
    )
    monitor = Monitor(
        tracker,
        windowed,
        chosen.tasks,
        world,
        batch_size=rows.per_rank * world.size,
        log_every=config.train.log_every,
        rates={"dense": config.dense.lr, "sparse": config.sparse.lr},
        log_task_weights=config.loss.balance.kind != "fixed",
    )
    rates = {task: schema.rate(task) for task in chosen.tasks}
    looks = TrainingHealth(head, tracker, rates, config.expert_health.probe_every, progress.looks)
    every = [n for n in (config.train.eval_every, config.checkpoint.every) if n]
    stream = chain.from_iterable(repeat(source))  # epoch after epoch
    model.train()

    def restore() -> bool:
        checkpoints.wait()
        found = checkpoints.load_latest(model, optimizer)
        if found is not None and found.source["epoch"] != source.epoch:
            renew_tables(parallel, chosen.tables, config, source.epoch)
        return found is not None

    refusals = Refusals(guard, config.faults, world, chosen.tasks, out / "debug", restore)
    slow_ranks = SlowRanks(config.faults, world)
    averaging = Averaging(model, config.sharding)

    with stop_requests() as request, tracker, checkpoints:
        watch = Watch(world, source)
        while True:
            # Saved already: a kill in the middle of an evaluation costs that evaluation alone.
            due = step > 0 and (step == end or _evaluates(config, step, source))
            if due and progress.evaluated_step != step and (step == end or not watch.stopping):
                checkpoints.wait()
                results, health = evaluate(model, pipeline, head, validation, chosen.tasks, world)
                tracker.log_results(step, results, split="val")
                if progress.note(figure(results, config.train.select)):
                    _on_disk(world, write_results, folder, step, results, looks.add_to(health))
                checkpoints.save(model, optimizer, progress, windowed=windowed)
                _on_disk(world, show_best, out, folder, progress.best_step)
            early = 0 < config.train.patience <= progress.evaluations_without_better
            if step >= end or watch.stopping or early:
                break
            # Between two events the pipeline runs full; at each event it is drained, so that
            # what the source has handed out is exactly what the model has learnt from.
            if source.steps_left == 0:
                renew_tables(parallel, chosen.tables, config, source.epoch + 1)
            epoch_end = step + (source.steps_left or source.steps_per_epoch)
            until = min(epoch_end, end, *(_next(step, n) for n in every))
            whole = until
            if config.checkpoint.incremental_every:
                until = min(until, _next(step, config.checkpoint.incremental_every))
            feed = watch.feed(islice(stream, until - step))
            monitor.restart_clock()
            while True:
                guard.before()
                try:
                    output = _advance(pipeline, feed, schedule, looks, step)
                except Exception as error:
                    if not is_out_of_memory(error) or not watch.in_flight:
                        raise
                    raise refusals.out_of_memory(
                        step + 1, watch.in_flight[0], watch.where(), error
                    ) from error
                if output is None:
                    break
                step += 1
                world.pulse.step = step
                averaging.after(step)
                slow_ranks.update(step, guard.seconds_W)
                saving = checkpoints.due or checkpoints.failed
                if refusals.handle(step, output, watch.where()):
                    watch.after(stop=request.received, save=saving)
                    continue
                head.update_average()
                looks.after(step)
                monitor.update(step, output, schedule.last, last=step == end)
                watch.after(stop=request.received, save=saving)
                checked = config.debug.check_replica_consistency
                if checked and step % checked == 0:
                    check_replicas(model, optimizer, step, world)
            watch.settle()
            averaging.settle()
            incremental = step < whole and not watch.save_due and not watch.stopping
            watch.save_due = False
            check_finite(model, step, world)
            share_buffers(head)
            progress.step, progress.source = step, source.state_dict()
            progress.looks, progress.scheduled = looks.remembered, schedule.at
            checkpoints.save(model, optimizer, progress, windowed=windowed, incremental=incremental)
    if watch.stopping and step < end:
        _say(world, f"stopped by a signal at step {step} of {end}, saved; go on with --resume")
        return ExitCode.STOPPED
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
    schedule.set()
    looks.before(step + 1)
    try:
        output: StepOutput = pipeline.progress(feed)
    except StopIteration:
        return None
    schedule.move()
    return output


def _length(config: Config, source: BatchSource, step: int) -> int:
    """Steps of the whole run, of which `step` are done: each epoch's by the ranks that read it."""
    if source.epoch >= config.train.epochs:
        return step
    return (
        step
        + source.steps_left
        + (config.train.epochs - 1 - source.epoch) * (source.steps_per_epoch)
    )


def _evaluates(config: Config, step: int, source: BatchSource) -> bool:
    """Whether an evaluation is due after `step`, but for the last step, where it always is."""
    every = config.train.eval_every
    return step % every == 0 if every else source.steps_left == 0


def _next(step: int, every: int) -> int:
    """The first multiple of `every` after `step`."""
    return (step // every + 1) * every


def _on_disk(world: World, write: Callable[..., None], out: AnyPath, *args: Any) -> None:
    """`write(out, ...)` on rank 0 while the others wait. A full disk is an error on all of them."""
    try:
        run_on_rank0(world, lambda: write(out, *args))
    except OSError as error:
        path = error.filename or out
        raise UserError(f"{path}: cannot be written: {error.strerror}; mend that") from error


def _say(world: World, message: str) -> None:
    if world.is_first:
        Console().print(message)
