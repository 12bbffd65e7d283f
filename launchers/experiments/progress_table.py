"""Shows the progress of an experiment: a live table on a terminal, else one line per event."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from launchers.experiments.running import Running
from pipeline.experiments.experiment import Experiment, ExperimentRun, RunOutcome, Skipped
from pipeline.io.console import print_line
from pipeline.tracking.progress_line import duration_text

_BAR = 20


class ProgressTable:
    """Shows the runs of an experiment while they run."""

    def __init__(self, console: Console, experiment: Experiment[Any]) -> None:
        self._console = console
        self._experiment = experiment
        self._earlier = experiment.num_ended
        self._ended = self._failed = 0
        self._start = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(Text(), refresh=True)
            self._live.stop()

    def print(self, text: str) -> None:
        """Print a line above the table."""
        total = self._experiment.total
        print_line(
            self._console, f"[{self._experiment.num_ended:>{len(str(total))}}/{total}] {text}"
        )

    def started(self, run: ExperimentRun) -> None:
        if not self._live:
            self.print(f"{run.name}: started, log {run.log}")

    def skipped(self, run: Skipped) -> None:
        self._earlier += 1
        self.print(run.text)

    def ended(self, one: Running[Any], outcome: RunOutcome, text: str) -> None:
        """Print that a run ended. `text` describes how."""
        self._ended += 1
        self._failed += outcome == "failed"
        left = self._eta([])
        self.print(f"{text}, {duration_text(one.seconds)}" + (f", eta {left}" if left else ""))

    def update(self, running: Sequence[Running[Any]]) -> None:
        if not self._live:
            return
        view = Table.grid(padding=(0, 2))
        for one in running:
            filled = round(_BAR * _share(one))
            view.add_row(
                one.run.name,
                "#" * filled + "." * (_BAR - filled),
                f"{one.step}/{one.run.steps} steps" if one.step else "starting",
                "" if one.value is None else f"{one.run.config.train.select} {one.value:.4f}",
                duration_text(one.seconds),
            )
        parts = [f"done {self._experiment.num_ended}/{self._experiment.total}"]
        parts += [f"running {len(running)}"]
        parts += [f"failed {self._failed}"] if self._failed else []
        parts += [f"eta {left}"] if (left := self._eta(running)) else []
        parts += [footer] if (footer := self._experiment.footer) else []
        self._live.update(Group(view, Text(", ".join(parts))))

    def _eta(self, running: Sequence[Running[Any]]) -> str:
        """Estimate the time left from the ended runs and the progress of running ones."""
        made = self._ended + sum(map(_share, running))
        left = self._experiment.total - self._earlier - made
        if made < 0.2 or left <= 0:  # too early to tell
            return ""
        return duration_text((time.monotonic() - self._start) / made * left)


def _share(one: Running[Any]) -> float:
    return min(1.0, one.step / one.run.steps)
