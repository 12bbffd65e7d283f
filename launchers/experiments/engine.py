"""Runs an experiment: several runs in parallel, each on ranks of this machine."""

from __future__ import annotations

import math
import os
import signal
import time
from itertools import chain
from multiprocessing.connection import wait

from rich.console import Console

from launchers.experiments.progress_table import ProgressTable
from launchers.experiments.running import Running
from launchers.local.local_job import GRACE_S, noted_signals
from pipeline.experiments.experiment import Experiment, R, Skipped

_POLL_S = 0.2


def run_experiment(
    experiment: Experiment[R], *, jobs: int, nproc: int = 1, console: Console
) -> signal.Signals | None:
    """Run the experiment, `jobs` runs in parallel on `nproc` ranks each.

    On a signal the runs save and stop, and no new run starts; a second signal kills them. Returns
    the signal that stopped the experiment.
    """
    threads = max(1, (os.cpu_count() or 1) // (jobs * nproc))
    running: list[Running[R]] = []
    kill_at = math.inf
    with noted_signals() as noted, ProgressTable(console, experiment) as table:
        try:
            while True:
                while not noted and len(running) < jobs and (run := experiment.next_run()):
                    if isinstance(run, Skipped):
                        table.skipped(run)
                        continue
                    running.append(Running(run, nproc=nproc, threads=threads))
                    table.started(run)
                if not running:
                    return noted[0] if noted else None
                wait(chain.from_iterable(one.ranks.pipes for one in running), timeout=_POLL_S)
                if noted and kill_at == math.inf:
                    table.print(
                        "stopping: the runs save a checkpoint first "
                        "(press Ctrl-C again to kill them)"
                    )
                    kill_at = time.monotonic() + GRACE_S
                    for one in running:
                        one.stop("stopped")
                if len(noted) > 1 or time.monotonic() > kill_at:
                    for one in running:
                        one.ranks.kill()
                for one in list(running):
                    ended = one.outcome()  # before reading: an ended run has written its log
                    for step, value in one.new_evaluations():
                        if experiment.evaluated(one.run, step, value):
                            one.stop("pruned")
                    if ended:
                        running.remove(one)
                        text = experiment.ended(one.run, *ended, one.seconds)
                        table.ended(one, ended[0], text)
                table.update(running)
        finally:
            for one in running:  # after an error here: leave no process behind
                one.ranks.kill()
