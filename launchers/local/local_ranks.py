"""Starts, stops and monitors ranks on this machine, each in a separate process.

Ranks are forked from one server that has imported torch, which takes as long as a small run. They
share nothing else, so a crashed rank does not affect other jobs.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from launchers.local import processes
from launchers.local.fork_server import fork_server
from launchers.local.free_port import free_port
from launchers.local.rank_process import RankFailed, RankStart, run_rank
from pipeline.io.errors import UserError

# Seconds between a rank's failure and the report of the rank that caused it.
_CAUSE_S = 2.0
_EXIT_S = 10.0  # for a rank that has returned to destroy its process group
_PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankDied(RankFailed):
    """A rank died without reporting. `code`: its exit code; negative: the signal that killed it."""

    def __init__(self, rank: int, code: int) -> None:
        if code < 0:
            name = signal.Signals(-code).name
            how = f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        else:
            how = f"died: exit code {code}"
        super().__init__(f"rank {rank} {how}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of rank 0, or the error of the ranks."""

    value: Any = None
    error: Exception | None = None


class LocalRanks:
    """Runs `fn(world, *args)` on `size` ranks.

    `fn` must be at the top level of a module; arguments and result must be picklable. The ranks
    have this process's environment and working directory. They run in separate sessions, so a
    terminal's Ctrl-C reaches this process only. When this process dies they get one SIGTERM.

    Args:
        size: number of ranks.
        local_size: number of ranks per simulated host (default: all).
        threads: threads per rank, unless OMP_NUM_THREADS is set (default: cores / ranks).
        log: file to which both streams are appended, once no other process writes to it: ranks of
            a killed job may still be saving. Default: the streams of this process.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        size: int,
        args: Sequence[Any] = (),
        *,
        local_size: int | None = None,
        threads: int | None = None,
        log: Path | None = None,
    ) -> None:
        context = fork_server()
        local = local_size or size
        common = {name: value for name, value in os.environ.items() if name not in _PLACE}
        if size > 1:
            common |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
            common |= {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(local)}
        common.setdefault("OMP_NUM_THREADS", str(threads or max(1, (os.cpu_count() or 1) // size)))
        if log:
            common["COLUMNS"] = "120"
        self._open: dict[Connection, int] = {}
        self._processes: list[BaseProcess] = []
        self._value: Any = None
        self._ended: Ended | None = None
        for rank in range(size):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank % local)} if size > 1 else {}
            ours, theirs = context.Pipe(duplex=False)
            start = RankStart(fn, tuple(args), common | place, os.getcwd(), log, rank)
            process = context.Process(target=run_rank, args=(theirs, start))
            process.start()
            theirs.close()
            self._open[ours] = rank
            self._processes.append(process)

    @property
    def pipes(self) -> list[Connection]:
        """Pipes for `multiprocessing.connection.wait`; one is ready when `poll` has news."""
        return list(self._open)

    def poll(self, timeout: float | None = 0.0) -> Ended | None:
        """Return how the ranks ended, or None while they run.

        After the first failure the other ranks, which may wait for the failed one forever, are
        killed. Peers of a failed rank fail, too. Among simultaneous failures the cause comes first:
        a user's mistake, then a rank that died, then an exception of a rank.

        Args:
            timeout: seconds to wait for news; None: no limit.
        """
        if self._ended:
            return self._ended
        failures = self._receive(timeout)
        if failures and all(_distance_from_cause(error) == 2 for error in failures):
            failures += self._receive(_CAUSE_S)  # maybe of the cause
        if failures:
            self.kill()
            self._ended = Ended(error=min(failures, key=_distance_from_cause))
        elif not self._open:
            for process in self._processes:
                process.join(_EXIT_S)
            self.kill()
            self._ended = Ended(self._value)
        return self._ended

    def _receive(self, timeout: float | None) -> list[Exception]:
        """Receive reports of ranks for `timeout` seconds; returns their failures."""
        failures: list[Exception] = []
        for pipe in wait(self.pipes, timeout):
            assert isinstance(pipe, Connection)
            rank = self._open.pop(pipe)
            try:
                error, value = pickle.loads(pipe.recv_bytes())
            except EOFError:
                self._processes[rank].join()
                error, value = RankDied(rank, self._processes[rank].exitcode or 0), None
            pipe.close()
            if error is not None:
                failures.append(error)
            elif rank == 0:
                self._value = value
        return failures

    def stop(self) -> None:
        """Send SIGTERM: training ranks save and return."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the ranks that still run."""
        self._send(signal.SIGKILL)
        for process in self._processes:
            process.join()

    def _send(self, number: signal.Signals) -> None:
        alive = (process for process in self._processes if process.exitcode is None)
        processes.send(number, (process.pid for process in alive if process.pid is not None))


def run_ranks(fn: Callable[..., Any], size: int, *args: Any, local_size: int | None = None) -> Any:
    """Run `fn(world, *args)` on `size` ranks and return the result of rank 0; see `LocalRanks`.

    Raises the UserError of a rank, or RankFailed for any other exception.
    """
    ranks = LocalRanks(fn, size, args, local_size=local_size)
    try:
        while (ended := ranks.poll(None)) is None:
            pass
    finally:
        ranks.kill()
    if ended.error:
        raise ended.error
    return ended.value


def _distance_from_cause(error: Exception) -> int:
    return 0 if isinstance(error, UserError) else 1 if isinstance(error, RankDied) else 2
