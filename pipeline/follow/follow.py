"""Follows a log: scores each window of rows, trains it, and saves, until stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from models.tower import TowerFactory
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.auto import derive
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.data.stream.window_rows import WindowRows
from pipeline.evaluate import Results, evaluate, metric_value
from pipeline.faults.stop_signals import stop_requests
from pipeline.follow.open_stream import Stream, open_stream
from pipeline.follow.windows import Windows
from pipeline.io.console import plain_console, print_line
from pipeline.io.exit_codes import ExitCode
from pipeline.loop.hooks import all_hooks
from pipeline.loop.run import Run, build_run
from pipeline.loop.segments import Segments
from pipeline.ranks.coordinate import gather_or_raise
from pipeline.ranks.world import World
from pipeline.run_folder import RunFolder
from pipeline.tracking.tracker import Tracker
from pipeline.training.hooks import Hook

# Means over the tasks.
_SHOWN = {"AUC": "auc", "NE": "ne", "calibration": "calibration"}


def follow(
    config: Config,
    out: Path,
    world: World,
    *,
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    tower: TowerFactory | None = None,
    hooks: Sequence[Hook] = (),
) -> int:
    """Train on the log of `config.follow` in folder `out`; return the exit code. Collective.

    The position in the log is in each checkpoint, so each row is trained once. A checkpoint of
    `train` is a start like any other: rows after those of the data folder follow. The arguments are
    those of `train`.

    Raises:
        UserError: on all ranks, for problems that the user can fix.
    """
    config, line = gather_or_raise(world, lambda: derive(config, Schema.load(config.data.path)))
    if line and world.is_first:
        print_line(plain_console(), line)
    stream = gather_or_raise(world, lambda: open_stream(config, world))
    run = build_run(config, out, stream.data, world, tower)
    folder = RunFolder.claim(
        out, config, stream.data.schema, world, resume=bool(resume), overwrite=overwrite
    )
    with folder:
        return _follow_into(folder, run, stream, resume=resume, again=overwrite, hooks=hooks)


def _follow_into(
    folder: RunFolder,
    run: Run,
    stream: Stream,
    *,
    resume: bool | Literal["auto"],
    again: bool,
    hooks: Sequence[Hook],
) -> int:
    """Follow after claiming the folder. Returns the exit code."""
    checkpoints = Checkpoints(
        folder.checkpoints,
        run.world,
        run.config,
        run.data.schema,
        on_commit=folder.note_saved,
        start_again="--overwrite" if again else "--resume auto",
    )
    resumed = run.start(checkpoints, resume=bool(resume))
    progress, source = run.progress, stream.source
    if resume:
        folder.check_resumed(progress.step if resumed else None, may_start=resume == "auto")
    folder.describe(run.parallel.plan, progress, None)
    checkpoints.claim()
    tracker = folder.tracker(total_steps=max(1, progress.step), resume_step=progress.step)
    with (
        stop_requests() as stop,
        tracker,
        checkpoints,
        Windows(stream, run.config.follow, run.world, stop) as windows,
    ):
        segments = Segments(run, checkpoints, stop)
        called = all_hooks(run, segments, tracker, checkpoints, hooks)
        while (found := windows.next()) is not None:
            is_new = source.unfinished is None
            source.begin(found)
            windows.read_ahead(found.window)
            scored = _score(run, stream) if is_new and source.steps_left else None
            run.end = progress.step + source.steps_left
            tracker.extend(run.end)
            while source.steps_left and not segments.stopped:
                incremental = segments.run(called)
                if scored is not None:
                    tracker.log_results(progress.step, scored, split="progressive")
                    folder.print(_line(found, scored))
                    scored = None
                if not source.steps_left:
                    _log(tracker, progress.step, found)
                run.save(checkpoints, incremental=incremental)
            if segments.stopped:
                break
        if not (segments.stopped or windows.stopped):
            if windows.waiting_rows:
                folder.print(
                    f"{windows.waiting_rows:,} rows are too few for a batch: not trained yet"
                )
            return _finish(folder, run, called, checkpoints)
    rows = source.position.rows
    folder.print(f"stopped by a signal after {rows:,} rows of whole windows; --resume continues")
    return ExitCode.STOPPED


def _score(run: Run, stream: Stream) -> Results:
    """Return metrics of the current window by task, before it is trained. Collective."""
    model, head, data = run.parallel.model, run.step.model.head, run.data
    results, _ = evaluate(model, run.pipeline, head, stream.source.scored(), data.chosen, run.world)
    return results


def _line(found: WindowRows, scored: Results) -> str:
    """Return a line about a window for the console."""
    window = found.window
    values = {name: metric_value(scored, f"mean/{kind}") for name, kind in _SHOWN.items()}
    means = "".join(f", {name} {value:.4f}" for name, value in values.items() if value is not None)
    return f"window {window.number}: {window.rows:,} rows{means}; {window.lag_rows:,} rows behind"


def _log(tracker: Tracker, step: int, found: WindowRows) -> None:
    """Log the counts of a window that has been trained."""
    window = found.window
    values = {
        "number": window.number,
        "rows": window.rows,
        "bad_rows": found.bad_rows,
        "all_rows": window.after.rows,
        "late_rows": window.after.late_rows,
        "lag_rows": window.lag_rows,
    }
    tracker.log(step, values, kind="window")


def _finish(folder: RunFolder, run: Run, called: Hook, checkpoints: Checkpoints) -> int:
    """Evaluate on the validation split, and write the report. Returns the exit code."""
    progress = run.progress
    if progress.step == 0:
        folder.print("no row has come for a first batch: nothing is trained or saved")
        return 0
    checkpoints.wait()
    if progress.evaluated_step != progress.step:
        results, health = run.evaluate()
        called.after_evaluation(progress.step, results, health)
        if progress.note(metric_value(results, run.config.train.select)):
            folder.record(progress.step, results, health)
        run.save(checkpoints)
        folder.show_best(progress.best_step)
    called.after_training(progress.step)
    checkpoints.wait()
    folder.finish()
    return 0
