"""Manages the folder of a run: claims it, describes the run, and writes the report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from pipeline.checkpoint.layout import checkpoints_folder, step_folder
from pipeline.checkpoint.progress import Progress
from pipeline.claim_run import check_resumed, claim
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.expert_health.diagnosis import diagnose
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError
from pipeline.io.files import check_no_other, read_text, write_json, write_text
from pipeline.io.restarts import has_no_name, this_job
from pipeline.io.set_aside import FAILED, SAVED, Replaced
from pipeline.io.storage import AnyPath
from pipeline.io.typed_json import read_typed
from pipeline.metrics.chance import at_chance
from pipeline.ranks.coordinate import gather_or_raise, run_on_rank0
from pipeline.ranks.world import World
from pipeline.report.file_types import DiagnosedHealth, ResultsFile
from pipeline.tracking.console_tables import plan_table, print_final_table
from pipeline.tracking.tracker import Tracker

_RESULTS = ("health.json", "results.json")


class RunFolder:
    """Every rank calls each method; rank 0 writes while the others wait.

    A full disk, or one that may not be written, is a UserError on all of them. As a context manager
    it puts back the run that it was to replace, where it ends before anything was saved.
    """

    def __init__(
        self, path: Path, checkpoints: AnyPath, config: Config, schema: Schema, world: World
    ) -> None:
        self._replaced: Replaced | None = None  # on rank 0
        self.path = path
        self.checkpoints = checkpoints
        self._config = config
        self._schema = schema
        self._world = world

    @classmethod
    def claim(
        cls,
        path: Path,
        config: Config,
        schema: Schema,
        world: World,
        *,
        resume: bool,
        overwrite: bool,
    ) -> Self:
        """Take `path` and the folder of checkpoints.

        Raises UserError if what is in them is another run's, or no run at all, or if there is a
        folder or a pipe where a later save writes a file.
        """
        checkpoints = gather_or_raise(world, lambda: checkpoints_folder(config, path))
        folder = cls(path, checkpoints, config, schema, world)

        def take() -> None:
            folder._replaced = claim(path, checkpoints, resume, overwrite)
            for name in (*_RESULTS, SAVED, "report.html"):
                check_no_other(path / name)
            check_no_other(checkpoints / "best.json")

        try:
            folder._write(take)
        except BaseException as error:  # another rank's, or a signal
            folder.__exit__(type(error), error, None)
            raise
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._replaced is None or (self.path / SAVED).exists():
            return
        if has_no_name() and not isinstance(error, UserError):
            return  # torchrun may start this again, and would take the other run for this one's
        if self._replaced.put_back():
            failed = self.path / FAILED
            left = f"; what this start left is in {failed}" if failed.is_dir() else ""
            self.print(
                f"{self.path}: nothing was saved, so the run that was to be replaced is back{left}"
                "; start again with --overwrite"
            )

    def note_saved(self, step: int) -> None:
        """Record a completed checkpoint. Called on rank 0 only, possibly in another thread."""
        note = {"step": step, "folder": str(self.checkpoints), "job": this_job()}
        write_json(self.path / SAVED, note)
        if self._replaced is not None:
            self._replaced.discard()

    def check_resumed(self, step: int | None, *, may_start: bool) -> None:
        """Say that newer checkpoints than that of `step` are gone. UserError if all are (None), or
        if a run that has saved none may not start."""

        def check() -> None:
            gone = check_resumed(self.path, self.checkpoints, step, may_start)
            if gone:
                self.print(gone)

        self._write(check)

    def describe(self, plan: dict[str, Any], progress: Progress, end: int | None) -> None:
        """Write the run's description and best evaluation so far, and print its start. `end`: the
        last step, if it is known."""
        folders = self.path, self.checkpoints
        self._write(lambda: describe(*folders, self._config, self._schema, plan, progress, end))

    def tracker(self, *, total_steps: int, resume_step: int) -> Tracker:
        """Return the run's log and progress bar."""
        rank = self._world.rank
        try:
            return gather_or_raise(
                self._world,
                lambda: Tracker(
                    self.path, rank=rank, total_steps=total_steps, resume_step=resume_step
                ),
            )
        except OSError as error:
            raise self._cannot_write(error) from error

    def record(self, step: int, results: Any, health: Any) -> None:
        """Write the results of an evaluation next to the checkpoint of `step`."""

        def write() -> None:
            folder = step_folder(self.checkpoints, step)
            found = [asdict(finding) for finding in diagnose(health)]
            write_json(folder / "health.json", health | {"diagnosis": found})
            write_json(folder / "results.json", {"split": "val", "step": step, "tasks": results})

        self._write(write)

    def show_best(self, best_step: int | None) -> None:
        """Copy the best checkpoint's results to the run; remove them if there are none."""
        self._write(lambda: _show_best(self.path, self.checkpoints, best_step))

    def finish(self) -> None:
        """Print the final table and next steps, and write the report."""
        self._write(lambda: _finish(self.path, self.checkpoints, self._schema))

    def print(self, message: str) -> None:
        """Run on rank 0 only."""
        if self._world.is_first:
            print_line(plain_console(), message)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            run_on_rank0(self._world, write)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> UserError:
        path = error.filename or self.path
        return UserError(f"{path}: cannot be written: {error.strerror}; fix that")


def describe(
    out: Path,
    checkpoints: AnyPath,
    config: Config,
    schema: Schema,
    plan: dict[str, Any],
    progress: Progress,
    end: int | None,
) -> None:
    """RunFolder.describe on rank 0."""
    schema.save(out)
    write_json(out / "plan.json", plan)
    config.save(out / "config.json")  # comes last: it makes the folder a run
    _show_best(out, checkpoints, progress.best_step)
    console = plain_console()
    console.print(plan_table(plan))
    splits = ", ".join(f"{name} {split.rows:,} rows" for name, split in schema.splits.items())
    print_line(console, f"{schema.dataset}: {splits}")
    begin = f", resumed after step {progress.step}" if progress.step else ""
    to = "on" if end is None else f"to {end}"
    line = f"training {config.recipe} in {out}, steps {progress.step} {to}{begin}"
    print_line(console, line)


def _show_best(out: Path, checkpoints: AnyPath, best_step: int | None) -> None:
    """Copy results from the best checkpoint, so that a resume repairs them after a crash."""
    for name in _RESULTS:
        if best_step is None:
            (out / name).unlink(missing_ok=True)
        else:
            source = step_folder(checkpoints, best_step) / name
            remedy = "remove that checkpoint to resume from the previous one"
            write_text(out / name, read_text(source, remedy=remedy))


def _finish(out: Path, checkpoints: AnyPath, schema: Schema) -> None:
    remedy = f"'homerec evaluate --checkpoint {shlex.quote(str(out))}' gives its metrics"
    results = read_typed(out / "results.json", ResultsFile, remedy=remedy)
    health = read_typed(out / "health.json", DiagnosedHealth, remedy=remedy)
    split, step = results["split"], results["step"]
    print_final_table(results["tasks"], f"Metrics of the {split} split at the best step, {step}")
    _write_report(out)
    folder = shlex.quote(str(out))
    other = "test" if schema.splits["test"].rows else "val"
    lines = [
        *(f"experts:         {line}" for line in _experts(health, results["tasks"])),
        f"best checkpoint: step {step} in {checkpoints}",
        f"report:          {out / 'report.html'}",
        f"curves:          tensorboard --logdir {folder}",
        f"evaluate again:  homerec evaluate --checkpoint {folder} --split {other}",
    ]
    for line in lines:
        print_line(plain_console(), line)


def _write_report(out: Path) -> None:
    # Late: other ranks never need plotly, and this one not before its training is over.
    from pipeline.report.run_report import write_report

    try:
        write_report(out)
    except (UserError, OSError) as error:
        raise UserError(
            f"{out}: the run is complete, but its report was not written: {error}; write it with "
            f"'homerec report {shlex.quote(str(out))}'"
        ) from error


def _experts(health: Any, results: Any) -> list[str]:
    """Return the faults of the experts, one line each, or a line that they are healthy."""
    lines = [finding["text"] for finding in health["diagnosis"] if finding["severity"] == "wrong"]
    if not lines and (reason := at_chance(results)) is not None:
        return [f"nothing to say of them: {reason}"]
    return lines or ["healthy, as far as checked (see the report)"]
