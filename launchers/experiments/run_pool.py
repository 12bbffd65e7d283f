"""A study's runs, several at a time, each in a process of its own.

The processes are forked from one server that has imported torch already (its start costs as much
as a small run); nothing else is shared, so a run that crashes takes nobody with it. They are in
sessions of their own: a terminal's Ctrl-C reaches this process alone, which passes it on.
"""

from __future__ import annotations

import fcntl
import math
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Literal

from launchers.local import processes
from launchers.local.local_job import GRACE_S, noted_signals
from launchers.local.rank_logs import USER_ERROR, Tail
from pipeline.experiments.study_run import Run, run_to_the_end
from pipeline.io.errors import UserError
from pipeline.tracking.progress_line import PROGRESS_LINE

_POLL_S = 0.2
_STOPPED_CODES = (128 + signal.SIGTERM, -signal.SIGTERM)

Status = Literal["done", "failed", "stopped"]


@dataclass(slots=True)
class Running:
    """A run under way."""

    run: Run
    process: ForkServerProcess
    tail: Tail
    since: float = field(default_factory=time.monotonic)
    step: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """Of its steps that are done."""
        return self.step / self.total if self.total else 0.0

    def look(self) -> None:
        """Learn from the log how far it is."""
        for line in self.tail.lines():
            if found := PROGRESS_LINE.fullmatch(line):
                self.step, self.total = int(found["step"]), int(found["total"])


def run_all(
    runs: Sequence[Run],
    jobs: int,
    *,
    started: Callable[[Run], None],
    ended: Callable[[Run, Status, str | None], None],
    tick: Callable[[Sequence[Running]], None],
) -> signal.Signals | None:
    """Run all, `jobs` at a time, and say what happens; returns the signal that cut it short.

    At a signal nothing new is begun and runs save and stop; a second one kills them.
    """
    if not runs:
        return None
    context = _server()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting, running = deque(runs), list[Running]()
    kill_at = math.inf
    with noted_signals() as noted:
        try:
            while running or (waiting and not noted):
                while waiting and len(running) < jobs and not noted:
                    running.append(_start(context, waiting.popleft(), threads))
                    started(running[-1].run)
                wait([one.process.sentinel for one in running], timeout=_POLL_S)
                for one in running:
                    one.look()
                tick(running)
                for one in [one for one in running if one.process.exitcode is not None]:
                    running.remove(one)
                    ended(one.run, *_outcome(one))
                if noted and kill_at == math.inf:
                    processes.send(signal.SIGTERM, _pids(running))
                    kill_at = time.monotonic() + GRACE_S
                if len(noted) > 1 or time.monotonic() > kill_at:
                    processes.send(signal.SIGKILL, _pids(running))
        finally:
            for one in running:  # something failed here: leave nothing behind
                one.process.kill()
                one.process.join()
    return noted[0] if noted else None


def _server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["launchers.experiments.run_pool"])
    # It must import what this process imports, and not what lies in the working directory.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    before = dict(os.environ)
    os.environ.update(PYTHONPATH=paths, PYTHONSAFEPATH="1")
    # A run hears SIGTERM alone: until it has a session of its own, Ctrl-C would reach it too.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    for name in {"PYTHONPATH", "PYTHONSAFEPATH"} - before.keys():
        del os.environ[name]
    os.environ.update(before)
    return context


def _start(context: multiprocessing.context.ForkServerContext, run: Run, threads: int) -> Running:
    run.log.parent.mkdir(parents=True, exist_ok=True)
    run.log.touch()
    tail = Tail(run.log)
    tail.lines()  # what an earlier start of this run said
    process = context.Process(target=_work, args=(run, threads), name=run.name)
    process.start()
    return Running(run, process, tail)


def _work(run: Run, threads: int) -> None:
    """In the run's own process."""
    import torch

    from pipeline.ranks.world import open_world

    os.setsid()
    processes.die_with_parent()
    _write_into(run.log)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    try:
        with open_world() as world:
            code = run_to_the_end(run, world)
    except UserError as error:
        sys.stderr.write(f"{USER_ERROR}{error}\n")
        code = 2
    sys.exit(code)


def _write_into(log: Path) -> None:
    """Both streams at the end of a file, once no other process is at work on this run.

    After a kill -9 of the study the runs that it had begun still save, and would be in the way.
    """
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    os.environ["COLUMNS"] = "120"


def _outcome(one: Running) -> tuple[Status, str | None]:
    code = one.process.exitcode
    assert code is not None
    one.process.join()
    if code == 0:
        return "done", None
    if code in _STOPPED_CODES:
        return "stopped", None
    if code < 0:
        name = signal.Signals(-code).name
        return "failed", f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    lines = [line for line in one.run.log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else f"ended with exit code {code}"
    return "failed", last.removeprefix(USER_ERROR)


def _pids(running: Sequence[Running]) -> list[int]:
    return [one.process.pid for one in running if one.process.pid is not None]
