"""The interface of an experiment: a series of runs, and a record of their results.

`homerec compare` lists its runs in advance, `homerec tune` draws each from a sampler. The engine
(launchers/experiments) runs both.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.train import train

RunOutcome = Literal["done", "pruned", "stopped", "failed"]
"""'pruned': stopped early by the experiment; 'stopped': by a signal to the engine; resumable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRun:
    """A run of an experiment: an ordinary training run in its own folder."""

    name: str
    """Name on the screen."""
    folder: Path
    log: Path
    """Log of its output. Outside the folder, which belongs to the run."""
    config: Config
    steps: int
    """Number of steps, unless it ends early."""

    def train(self, world: World) -> int:
        """Train or resume. Collective. Returns the exit code: OK or STOPPED."""
        return train(self.config, self.folder, world, resume="auto")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run that ended without being started; `text` describes how."""

    text: str


R = TypeVar("R", bound=ExperimentRun)


class Experiment(Protocol[R]):
    """Runs to start, and a record of their outcomes."""

    @property
    def total(self) -> int:
        """Number of runs, including those of earlier sessions."""

    @property
    def num_ended(self) -> int:
        """Number of completed runs."""

    @property
    def footer(self) -> str:
        """Short status below the progress table."""

    def next_run(self) -> R | Skipped | None:
        """Return the next run to start; None if there are no more."""

    def evaluated(self, run: R, step: int, value: float) -> bool:
        """Record the selection metric after `step`; returns whether to stop the run early."""

    def ended(self, run: R, outcome: RunOutcome, error: str | None, seconds: float) -> str:
        """Record the end of a run; returns a line for the screen. `seconds`: in this session."""


@contextmanager
def only_writer(folder: Path, kind: str) -> Iterator[None]:
    """Lock the experiment in `folder` against other processes.

    Raises UserError if another process runs it.
    """
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: a {kind} is running there; wait until it ends, or give another folder "
                "with --out"
            ) from error
        yield
    finally:
        os.close(file)
