"""A search under way: trials started, watched, stopped early, written down.

A trial is an ordinary run in a folder of its own, started through TorchX. The search lives in files
alone: however it ended, --resume goes on with it, each trial from its last checkpoint.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from launchers.experiments.search_folder import TuneFolder
from launchers.experiments.trial_run import TrialRun
from launchers.experiments.trials import Asked, trial_name
from launchers.local.console import open_console, say
from launchers.local.local_job import noted_signals
from pipeline.config.tree import Config
from pipeline.experiments.search_report import best_table
from pipeline.experiments.search_space import laid_over, words
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode

_POLL_S = 0.2
# A trial with less than this share of its rows to go is let finish: its own last figure is worth
# more than the seconds.
_NEARLY_DONE = 0.02


def tune(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Search, or go on with a search. Returns the exit code.

    UserError for what cannot be searched, before anything runs; also if every trial failed.
    """
    with TuneFolder(args, overrides) as folder:
        console = open_console()
        search = _Search(folder, console)
        stopped_by = search.run()
        records = folder.write(search.trials)
        console.print(best_table(records))
        if stopped_by:
            say(console, f"stopped; go on with: homerec tune --out {folder.path} --resume")
            return 128 + stopped_by
        if records["best"] is None:
            failed = [trial for trial in records["trials"] if trial["state"] == "failed"]
            first = failed[0]
            raise UserError(
                f"{folder.path}: all {len(failed)} trials failed; {first['run']}: {first['error']}"
            )
        say(console, f"best:    trial {records['best']}, {folder.path / 'best.yaml'}")
        say(console, f"train:   homerec train --config {folder.path / 'best.yaml'}")
        say(console, f"report:  {folder.path / 'report.html'}")
        return 0


class _Search:
    """The trials under way, and all that there were."""

    def __init__(self, folder: TuneFolder, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._running: dict[int, tuple[TrialRun, Config]] = {}
        self._latest: dict[int, tuple[float, float]] = {}  # share of rows seen, figure
        self._cpus = max(1, (os.cpu_count() or 1) // folder.jobs)
        self.trials = folder.open_trials()

    def run(self) -> signal.Signals | None:
        """Until all trials have ended, or a signal came; which one."""
        waiting = self.trials.unfinished()
        seen = 0
        with noted_signals() as noted, self._console.status("") as line:
            try:
                while True:
                    while not noted and len(self._running) < self._folder.jobs:
                        if waiting:
                            self._start(waiting.pop(0))
                        elif self.trials.num_trials < self._folder.trials:
                            self._start(self.trials.ask())
                        else:
                            break
                    if not self._running:
                        return noted[0] if noted else None
                    if len(noted) > seen:
                        seen = len(noted)
                        say(
                            self._console,
                            "stopping: the trials save a checkpoint first (once more kills)",
                        )
                        self._stop()
                    for number in list(self._running):
                        self._look_at(number, stopping=bool(noted))
                    line.update(self._progress())
                    time.sleep(_POLL_S)
            finally:
                self._stop()
                for run, _ in self._running.values():
                    run.wait()

    def _start(self, trial: Asked) -> None:
        folder = self._folder
        if self.trials.repeat(trial):
            self._tell_end(trial.number)
            return
        try:
            config = laid_over(folder.base, trial.params, where=trial.name)
        except UserError as error:  # values that do not go together: no reason to end the search
            self._end(trial.number, "failed", error=str(error).removeprefix(f"{trial.name}: "))
            return
        run = TrialRun(
            ["--config", str(folder.base_yaml), *words(trial.params)],
            folder.path / trial.name,
            folder.path / "logs" / f"{trial.name}.log",
            nproc=folder.nproc,
            cpus=self._cpus,
            keep_open=folder.lock,
        )
        self._running[trial.number] = (run, config)

    def _stop(self) -> None:
        for run, _ in self._running.values():
            run.stop()

    def _look_at(self, number: int, *, stopping: bool) -> None:
        """Pass on what a trial has to tell; close it if it has ended."""
        run, config = self._running[number]
        code = run.poll()  # before reading: what an ended run wrote is all there
        total = self._folder.total_rows(config)
        for step, value in run.new_evaluations(config.train.select):
            rows = step * config.train.batch_size
            self._latest[number] = (rows / total, value)
            poor = self.trials.report(number, rows, value)
            if poor and not (run.pruned or stopping) and rows < (1 - _NEARLY_DONE) * total:
                run.pruned = True
                run.stop()
        if code is None:
            return
        del self._running[number]
        self.trials.add_seconds(number, run.seconds)
        if stopping and not run.pruned and code not in (0, 1, 2):
            return  # under way still: --resume goes on with it
        if code == 0 and number in self._latest:
            self._end(number, "complete")
        elif code == 0:
            self._end(number, "failed", error=f"no finite {config.train.select} on validation rows")
        elif run.pruned and code in (
            ExitCode.STOPPED,
            -signal.SIGTERM,
        ):
            self._end(number, "pruned")
        elif code == ExitCode.STOPPED:
            self._end(number, "failed", error="stopped by a signal that did not come from here")
        elif code < 0:
            self._end(number, "failed", error=f"killed by {signal.Signals(-code).name}")
        else:
            self._end(number, "failed", error=run.last_words())

    def _end(self, number: int, state: str, *, error: str | None = None) -> None:
        self.trials.end(number, state, error=error)
        self._tell_end(number)

    def _tell_end(self, number: int) -> None:
        records = self._folder.write(self.trials)
        say(self._console, _told(records["trials"][number], records["best"] == number))

    def _progress(self) -> str:
        ended = self.trials.num_trials - len(self._running)
        best = self.trials.best()
        parts = [f"{ended}/{self._folder.trials} trials"]
        if best is not None:
            parts.append(f"best {best[1]:.4f} (trial {best[0]})")
        for number in self._running:
            share, value = self._latest.get(number, (0.0, math.nan))
            shown = "starts" if math.isnan(value) else f"{100 * share:.0f}% {value:.4f}"
            parts.append(f"{number}: {shown}")
        return "  ".join(parts)


def _told(trial: dict[str, Any], is_best: bool) -> str:
    """A trial's end in a line."""
    params = " ".join(f"{field}={_short(value)}" for field, value in trial["params"].items())
    value = "" if trial["value"] is None else f" {trial['value']:.4f}"
    own = trial_name(trial["trial"])
    twin = "" if trial["run"] == own else f": as {trial['run']}, which had the same values"
    tail = f": {trial['error']}" if trial["error"] else twin
    star = " (best so far)" if is_best else ""
    return f"trial {trial['trial']} {trial['state']}{value}{star}  {params}{tail}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
