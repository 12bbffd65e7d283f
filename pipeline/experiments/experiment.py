"""An experiment: runs to train, one after the other or several at a time, and what to record.

`homerec compare` lists its runs beforehand, `homerec tune` draws each from a sampler. The engine
(launchers/experiments) runs either.
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
"""'pruned': stopped early by the experiment; 'stopped': by a signal to the engine, and to be
resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRun:
    """One run of an experiment: an ordinary training run in a folder of its own."""

    name: str
    """As shown on the screen."""
    folder: Path
    log: Path
    """Of what it prints. Beside the folder: that one belongs to the run alone."""
    config: Config
    steps: int
    """Of the run, if nothing ends it early."""

    def train(self, world: World) -> int:
        """Train, or resume. Every rank must call this. Returns the exit code: OK or STOPPED."""
        return train(self.config, self.folder, world, resume="auto")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run that has ended without a start; `text` says how."""

    text: str


R = TypeVar("R", bound=ExperimentRun)


class Experiment(Protocol[R]):
    """Runs to start, and a record of how they ended."""

    @property
    def total(self) -> int:
        """Number of runs, those of earlier sessions included."""

    @property
    def num_ended(self) -> int:
        """Number of runs that have ended and are not to run again."""

    @property
    def footer(self) -> str:
        """How it stands, in a few words below the table of progress."""

    def next_run(self) -> R | Skipped | None:
        """The next run to start; None: no more."""

    def evaluated(self, run: R, step: int, value: float) -> bool:
        """Note the selection metric after `step`; returns whether to stop the run early."""

    def ended(self, run: R, outcome: RunOutcome, error: str | None, seconds: float) -> str:
        """Record how a run ended; returns a line for the screen. `seconds`: of this session."""


@contextmanager
def only_writer(folder: Path, kind: str) -> Iterator[None]:
    """Keep other processes from running the experiment in `folder` meanwhile.

    UserError if another one does.
    """
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: a {kind} is running there; wait for its end, or name another folder "
                "with --out"
            ) from error
        yield
    finally:
        os.close(file)
