"""A run in progress: its ranks, and its progress from metrics.jsonl."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any, Generic, Literal

from launchers.local.local_ranks import LocalRanks, RankDied
from launchers.local.tail import Tail
from pipeline.evaluate import metric_value
from pipeline.experiments.experiment import ExperimentRun, R, RunOutcome
from pipeline.io.exit_codes import ExitCode
from pipeline.io.typed_json import parse_typed
from pipeline.ranks.world import World
from pipeline.report.file_types import LogLine

_STOPPED = (-signal.SIGTERM, -signal.SIGKILL)


def _train(world: World, run: ExperimentRun) -> int:
    return run.train(world)


class Running(Generic[R]):
    """A run in progress.

    Attributes:
        step: last logged training step.
        value: selection metric of the latest evaluation; None before the first.
    """

    def __init__(self, run: R, *, nproc: int, threads: int) -> None:
        self.run = run
        self.step = 0
        self.value: float | None = None
        self._start = time.monotonic()
        self._stopped_as: Literal["pruned", "stopped"] | None = None
        self._log = run.folder / "metrics.jsonl"
        self._metrics = Tail(self._log)
        run.log.parent.mkdir(parents=True, exist_ok=True)
        self.ranks = LocalRanks(_train, nproc, (run,), threads=threads, log=run.log)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def stop(self, outcome: Literal["pruned", "stopped"]) -> None:
        """Ask the run to save and exit, unless it was asked before."""
        if self._stopped_as is None:
            self._stopped_as = outcome
            self.ranks.stop()

    def outcome(self) -> tuple[RunOutcome, str | None] | None:
        """Return how the run ended and, in one line, why it failed; None while it runs."""
        ended = self.ranks.poll()
        if ended is None:
            return None
        if ended.value == ExitCode.OK and ended.error is None:
            return "done", None
        died = isinstance(ended.error, RankDied) and ended.error.code in _STOPPED
        if self._stopped_as and (died or ended.error is None):
            return self._stopped_as, None
        if ended.error is None:
            return "failed", "stopped by a signal from another process"
        return "failed", str(ended.error).strip().splitlines()[-1]

    def new_evaluations(self) -> Iterator[tuple[int, float]]:
        """Return step and selection metric of each evaluation since the last call, if defined.

        A resumed run may repeat evaluations.
        """
        try:
            lines = self._metrics.lines()
        except FileNotFoundError:  # nothing is logged yet
            return
        for line in lines:
            record = parse_typed(line, LogLine, where=str(self._log), remedy="remove that line")
            self.step = record["step"]
            if record["kind"] == "eval":
                value = metric_value(_by_task(record), self.run.config.train.select)
                if value is not None:
                    self.value = value
                    yield self.step, value


def _by_task(record: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    results: dict[str, dict[str, float | None]] = {}
    for name, value in record.items():
        task, slash, kind = name.rpartition("/")
        if slash:
            results.setdefault(task, {})[kind] = value
    return results
