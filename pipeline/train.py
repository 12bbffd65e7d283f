"""A run: train, evaluate, checkpoint, until done or told to stop."""

from __future__ import annotations

import json
import shutil
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console

from embeddings.planner.plan import plan_table, save_plan
from pipeline.assemble import assemble, open_pipeline, select
from pipeline.batch import Batch
from pipeline.checkpoint import Checkpoints, Progress, saved_steps
from pipeline.config import Config
from pipeline.data.parquet import BatchSource
from pipeline.data.schema import Schema
from pipeline.distributed import Flags, World, on_first, share_buffers
from pipeline.errors import UserError
from pipeline.evaluate import evaluate, figure, write_json
from pipeline.monitor import Monitor
from pipeline.report import write_report
from pipeline.schedule import Schedule
from pipeline.step import StepOutput
from pipeline.streams import open_split
from pipeline.tracking import Tracker, print_final_table
from pipeline.windowed_metrics import WindowedMetrics

# Samples of the window figures in training, over all ranks.
_WINDOW = 100_000

STOPPED = 143
"""Exit code of a run that a signal stopped after it had saved (128 + SIGTERM)."""


def train(config: Config, out: Path, world: World, *, resume: bool, overwrite: bool) -> int:
    """Train `config` into folder `out`. Returns the exit code.

    Every rank must call this. UserError for what the user can mend.
    """
    schema = Schema.load(config.data.path)
    chosen = select(config, schema)
    source = open_split(config, chosen, "train", world, purpose="train")
    validation = open_split(config, chosen, "val", world, purpose="eval")
    step_module, parallel = assemble(config, chosen, world)
    # Only now: a run that cannot start leaves no folder, and replaces none.
    on_first(world, lambda: _claim(out, resume=resume, overwrite=overwrite))
    model, optimizer, head = parallel.model, parallel.optimizer, step_module.model.head

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
    checkpoints = Checkpoints(out / "checkpoints", world, config, schema)
    # Last, for a resume also brings back the random state, which building may have moved.
    torch.manual_seed(config.train.seed * world.size + world.rank)
    progress = Progress()
    if resume and (found := checkpoints.load_latest(model, optimizer)):
        progress = found
        source.load_state_dict(progress.source)
    if world.is_first:
        _describe(out, config, schema, parallel.plan, progress, end)

    tracker = Tracker(out, rank=world.rank, total_steps=end, resume_step=progress.step)
    monitor = Monitor(
        tracker,
        windowed,
        chosen.tasks,
        world,
        batch_size=config.train.batch_size,
        log_every=config.train.log_every,
        rates={"dense": config.dense.lr, "sparse": config.sparse.lr},
    )
    eval_every = config.train.eval_every or source.steps_per_epoch
    save_every = config.checkpoint.every or eval_every
    stream = chain.from_iterable(repeat(source))  # epoch after epoch
    model.train()
    step = progress.step
    early = False

    with stop_requests() as request, tracker:
        watch = Watch(world, chosen.tasks, source)
        while step < end and not watch.stopping and not early:
            # Between two events the pipeline runs full; at each event it is drained, so that
            # what the source has handed out is exactly what the model has learnt from.
            until = min(_next(step, eval_every), _next(step, save_every), end)
            feed = watch.feed(islice(stream, until - step))
            monitor.restart_clock()
            while (output := _advance(pipeline, feed, schedule, step)) is not None:
                step += 1
                monitor.update(step, output, schedule.last, last=step == end)
                watch.after(step, output, stop=request.received)
            watch.settle()
            progress.step, progress.source = step, source.state_dict()

            share_buffers(head)
            if step % eval_every == 0 or step == end:
                results, health = evaluate(pipeline, head, validation, chosen.tasks, world)
                better = _note(progress, figure(results, config.train.select), config)
                early = 0 < config.train.patience <= progress.evaluations_without_better
                tracker.log_results(step, results, split="val")
                if world.is_first and better:
                    write_json(
                        out / "results.json", {"split": "val", "step": step, "tasks": results}
                    )
                    write_json(out / "health.json", health)
            checkpoints.save(model, optimizer, progress)
    if watch.stopping:
        _say(world, f"stopped by a signal at step {step} of {end}, saved; go on with --resume")
        return STOPPED
    if early:
        _say(
            world,
            f"stopped early at step {step}: {config.train.patience} evaluations without a better "
            f"{config.train.select}",
        )
    if world.is_first:
        _finish(out, schema)
    dist.barrier()
    return 0


def _advance(
    pipeline: Any, feed: Iterator[Batch], schedule: Schedule, step: int
) -> StepOutput | None:
    """One step, or None when `feed` has ended and the pipeline is drained."""
    schedule.set(step)
    try:
        output: StepOutput = pipeline.progress(feed)
    except StopIteration:
        return None
    return output


class Watch:
    """Stops every rank at the same step: for a signal to any of them, or a loss gone bad."""

    def __init__(self, world: World, tasks: list[str], source: BatchSource) -> None:
        self._world = world
        self._tasks = tasks
        self._source = source
        self._flags = Flags(world, 2)
        self._origins: deque[tuple[int, int]] = deque()  # epoch and batch of those in flight
        self._bad: list[str] = []
        self.stopping = False

    def feed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """`batches`, ending early once the ranks have agreed to stop."""
        for batch in batches:
            self._origins.append((self._source.epoch, self._source.step - 1))
            yield batch
            if self.stopping:
                return

    def after(self, step: int, output: StepOutput, *, stop: bool) -> None:
        """After each step: learn what was posted after the last one, post this one's."""
        self.settle()
        origin = self._origins.popleft()
        bad = not bool(torch.isfinite(output.losses_T).all())
        if bad:
            self._bad.append(self._sentence(step, origin, output.losses_T))
        self._flags.post([int(stop), int(bad)])

    def settle(self) -> None:
        """Act on what was posted last. Raises UserError on all ranks for a bad loss on any."""
        stop, bad = self._flags.read()
        self.stopping = self.stopping or bool(stop)
        if not bad:
            return
        all_ranks: list[list[str]] = [[] for _ in range(self._world.size)]
        dist.all_gather_object(all_ranks, self._bad, group=self._world.control)
        raise UserError(next(lines[0] for lines in all_ranks if lines))

    def _sentence(self, step: int, origin: tuple[int, int], losses_T: torch.Tensor) -> str:
        epoch, batch = origin
        if epoch == self._source.epoch:
            where = self._source.describe(batch)
        else:
            where = f"epoch {epoch}, batch {batch}"
        named = ", ".join(
            f"{task} {loss}"
            for task, loss in zip(self._tasks, losses_T.tolist(), strict=True)
            if not torch.isfinite(torch.tensor(loss))
        )
        return (
            f"step {step}: loss is not finite on rank {self._world.rank}: {named}; "
            f"batch: {where}; nothing of this step was saved: lower "
            "--dense.lr or --sparse.lr, or look at these rows, then go on with --resume"
        )


@dataclass
class _Request:
    received: bool = False
    old: dict[int, Any] = field(default_factory=dict)


@contextmanager
def stop_requests() -> Iterator[_Request]:
    """SIGTERM and SIGINT are noted, not obeyed at once; a second one acts as it always did."""
    request = _Request()

    def note(number: int, frame: object) -> None:
        request.received = True
        signal.signal(number, request.old[number])

    numbers: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        request.old[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in request.old.items():
            signal.signal(number, handler)


def _next(step: int, every: int) -> int:
    """The first multiple of `every` after `step`."""
    return (step // every + 1) * every


def _note(progress: Progress, value: float | None, config: Config) -> bool:
    """Keep `value` in `progress` if it is the best so far; whether it is."""
    lower = config.train.select.endswith(("/ne", "/log_loss"))
    best = progress.best_value
    better = best is None or (value is not None and (value < best if lower else value > best))
    progress.evaluations_without_better = 0 if better else progress.evaluations_without_better + 1
    if better:
        progress.best_step, progress.best_value = progress.step, value
    return better


def _claim(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the run's folder ours. UserError if another run is in it."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; name a folder for the run with --out")
    used = (out / "config.json").exists()
    if used and overwrite:
        shutil.rmtree(out)
    elif used and not resume:
        steps = saved_steps(out / "checkpoints")
        where = f"a run (saved up to step {steps[-1]})" if steps else "a run"
        raise UserError(
            f"{out}: holds {where}; --resume goes on with it, --overwrite replaces it, "
            "--out names another folder"
        )
    elif out.is_dir() and any(out.iterdir()) and not used:
        raise UserError(f"{out}: is not empty and holds no run; name another folder with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}") from error


def _describe(
    out: Path, config: Config, schema: Schema, plan: dict[str, Any], progress: Progress, end: int
) -> None:
    config.save(out / "config.json")
    schema.save(out)
    save_plan(plan, out / "plan.json")
    console = Console()
    console.print(plan_table(plan))
    splits = ", ".join(f"{name} {split.rows:,} rows" for name, split in schema.splits.items())
    console.print(f"{schema.dataset}: {splits}")
    begin = f"resumed after step {progress.step}" if progress.step else "from the start"
    console.print(f"training {config.recipe} into {out}, {begin}, to step {end}")


def _say(world: World, message: str) -> None:
    if world.is_first:
        Console().print(message)


def _finish(out: Path, schema: Schema) -> None:
    """The table at the end, the report, and where to look next."""
    results = json.loads((out / "results.json").read_text())
    print_final_table(results["tasks"])
    report = write_report(out)
    console = Console()
    console.print(f"best checkpoint: step {results['step']} in {out / 'checkpoints'}")
    console.print(f"report:          {report}")
    console.print(f"curves:          tensorboard --logdir {out}")
    split = "test" if schema.splits["test"].rows else "val"
    console.print(f"evaluate again:  homerec evaluate --checkpoint {out} --split {split}")
