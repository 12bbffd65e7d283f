"""A run: trains, evaluates and saves until it is done or stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from models.tower import TowerFactory
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.auto import derive
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.evaluate import metric_value
from pipeline.faults.stop_signals import stop_requests
from pipeline.io.console import plain_console, print_line
from pipeline.io.exit_codes import ExitCode
from pipeline.loop.data import open_data
from pipeline.loop.hooks import all_hooks
from pipeline.loop.run import Run, build_run
from pipeline.loop.segments import Segments
from pipeline.ranks.coordinate import gather_or_raise
from pipeline.ranks.world import World
from pipeline.run_folder import RunFolder
from pipeline.training.dataloader import OpenSplit
from pipeline.training.dataloader import open_split as open_parquet
from pipeline.training.hooks import Hook


def train(
    config: Config,
    out: Path,
    world: World,
    *,
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    tower: TowerFactory | None = None,
    open_split: OpenSplit = open_parquet,
    hooks: Sequence[Hook] = (),
) -> int:
    """Train `config` in folder `out` and return the exit code. Collective.

    Args:
        resume: continue from the newest checkpoint in `out`; UserError if there is none. 'auto'
            starts a new run if no checkpoint was saved yet.
        overwrite: replace the run in `out`.
        tower: builds the dense half, instead of `config.model.tower`.
        open_split: opens this rank's batches, instead of the Parquet files of `config.data.path`.
        hooks: hooks called after those of the run.

    Raises:
        UserError: on all ranks, for problems that the user can fix.
    """
    config, line = gather_or_raise(world, lambda: derive(config, Schema.load(config.data.path)))
    if line and world.is_first:
        print_line(plain_console(), line)
    # Ranks may see different files: an error on one must be raised on all, or they would wait.
    data = gather_or_raise(world, lambda: open_data(config, world, open_split))
    run = build_run(config, out, data, world, tower)
    # Claim the folder late, so that a run that cannot start leaves and replaces no folder.
    folder = RunFolder.claim(
        out, config, data.schema, world, resume=bool(resume), overwrite=overwrite
    )
    with folder:
        return _train_into(folder, run, resume=resume, overwrite=overwrite, hooks=hooks)


def _train_into(
    folder: RunFolder,
    run: Run,
    *,
    resume: bool | Literal["auto"],
    overwrite: bool,
    hooks: Sequence[Hook],
) -> int:
    """Train after claiming the folder. Returns the exit code."""
    world, config = run.world, run.config
    checkpoints = Checkpoints(
        folder.checkpoints,
        world,
        config,
        run.data.schema,
        on_commit=folder.note_saved,
        # After --overwrite the replaced run is back, which --resume would continue.
        start_again="--overwrite" if overwrite else "--resume auto",
    )
    resumed = run.start(checkpoints, resume=bool(resume))
    progress = run.progress
    if resume:
        folder.check_resumed(progress.step if resumed else None, may_start=resume == "auto")
    folder.describe(run.parallel.plan, progress, run.end)
    checkpoints.claim()
    tracker = folder.tracker(total_steps=run.end, resume_step=progress.step)
    with stop_requests() as stop, tracker, checkpoints:
        segments = Segments(run, checkpoints, stop)
        called = all_hooks(run, segments, tracker, checkpoints, hooks)
        while True:
            if segments.evaluation_due:
                checkpoints.wait()  # saved: a kill from here on loses only the evaluation
                results, health = run.evaluate()
                called.after_evaluation(progress.step, results, health)
                if progress.note(metric_value(results, config.train.select)):
                    folder.record(progress.step, results, health)
                run.save(checkpoints)
                folder.show_best(progress.best_step)
            if segments.finished:
                break
            incremental = segments.run(called)
            run.save(checkpoints, incremental=incremental)
        if not segments.stopped:
            called.after_training(progress.step)
    if segments.stopped and progress.step < run.end:
        at = f"step {progress.step} of {run.end}"
        folder.print(f"stopped by a signal at {at}, saved; continue with --resume")
        return ExitCode.STOPPED
    if progress.step < run.end:
        why = f"{config.train.patience} evaluations without a better {config.train.select}"
        folder.print(f"stopped early at step {progress.step}: {why}")
    folder.finish()
    return 0
