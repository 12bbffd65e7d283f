"""Runs the jobs of a map on all cores: one process per core, each with one thread."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from launchers.local import processes
from launchers.local.fork_server import fork_server
from launchers.local.local_job import noted_signals
from pipeline.io.console import print_line
from pipeline.io.errors import RankLost
from pipeline.tracking.progress_line import duration_text

if TYPE_CHECKING:
    from rich.console import Console

_POLL_S = 0.2
_PRINT_S = 30.0
_MODULE = "pipeline.experiments.map.train_cell"

J = TypeVar("J")
RunJob = Callable[[Path, J, Callable[[], bool]], bool]

_stop: Event


def _start(stop: Event) -> None:
    """Prepare a worker: one thread, and no Ctrl-C, which the parent passes on as `stop`."""
    global _stop
    import torch

    _stop = stop
    torch.set_num_threads(1)
    processes.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(run: RunJob[J], out: Path, job: J) -> bool:
    return not _stop.is_set() and run(out, job, _stop.is_set)


def run_jobs(
    run: RunJob[J],
    out: Path,
    jobs: Sequence[J],
    *,
    workers: int,
    done: int,
    console: Console,
) -> signal.Signals | None:
    """Run `jobs`; their results are in `out`. Returns the signal that stopped them.

    Args:
        run: writes the result of a job into `out`; returns False if stopped before.
        done: number of jobs that earlier sessions have finished.

    Raises RankLost if a worker dies.
    """
    if not jobs:
        return None
    context = fork_server(_MODULE)
    stop = context.Event()
    progress = _Progress(console, done, len(jobs))
    with noted_signals() as noted, ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(stop,)
    ) as pool:  # fmt: skip
        try:
            left: set[Future[bool]] = {pool.submit(_run, run, out, job) for job in jobs}
            while left:
                ended, left = wait(left, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                progress.add(sum(future.result() for future in ended))
                if noted and not stop.is_set():
                    stop.set()
                    print_line(console, "stopping; finished cells are saved")
                    left = {future for future in left if not future.cancel()}
        except BrokenProcessPool as error:
            raise RankLost(
                f"{out}: a worker was killed (out of memory?); finished cells are saved; continue "
                "with --resume"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return noted[0] if noted else None


class _Progress:
    """Prints the number of finished jobs and an estimate of the time left."""

    def __init__(self, console: Console, before: int, jobs: int) -> None:
        self._console = console
        self._before, self._jobs, self._ended = before, jobs, 0
        self._start = self._printed = time.monotonic()

    def add(self, ended: int) -> None:
        if not ended:
            return
        self._ended += ended
        now = time.monotonic()
        if now - self._printed < _PRINT_S and self._ended < self._jobs:
            return
        self._printed = now
        left = (now - self._start) / self._ended * (self._jobs - self._ended)
        total = self._before + self._jobs
        number = f"{self._before + self._ended:>{len(str(total))}}/{total}"
        print_line(self._console, f"[{number}] cells and seeds  eta {duration_text(left)}")
