"""Ranks on this machine, each a process of its own: started, signalled, watched, reaped.

They are forked from one server that has imported torch already (that takes as long as a small run)
and share nothing else, so a rank that crashes takes no other job with it.
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

# Between a failure that a rank raised and the report of the one that caused it.
_CAUSE_S = 2.0
_EXIT_S = 10.0  # for a rank that has returned to take its process group down
_PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankDied(RankFailed):
    """A rank ended without a word. `code`: its exit code; negative: the signal that killed it."""

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
    """What rank 0 returned, or why the ranks failed."""

    value: Any = None
    error: Exception | None = None


class LocalRanks:
    """`fn(world, *args)` on `size` ranks, from now on.

    `fn` must be at the top level of a module; arguments and result must pickle. The ranks have this
    process's environment and working directory. They are in sessions of their own: a terminal's
    Ctrl-C reaches this process alone. When this process dies they get one SIGTERM.

    Args:
        size: number of ranks.
        local_size: ranks of what the ranks take for a host (default: all).
        threads: of each rank, unless OMP_NUM_THREADS is set (default: the cores, divided).
        log: both streams are appended to this file, once no other process writes there: ranks of
            a job that was killed may still be saving. Default: this process's streams.
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
        """For `multiprocessing.connection.wait`: ready when `poll` has something to learn."""
        return list(self._open)

    def poll(self, timeout: float | None = 0.0) -> Ended | None:
        """How the ranks ended, once all have: after the first failure the others are killed, which
        may wait for that rank for ever. `timeout`: seconds to wait for news; None: until then.

        Peers of a rank that failed fail too. Of failures that are there at once the cause comes
        first: a user's mistake, a rank that died, and only then what a rank raised.
        """
        if self._ended:
            return self._ended
        failures = self._receive(timeout)
        if failures and all(_distance_from_cause(error) == 2 for error in failures):
            failures += self._receive(_CAUSE_S)  # maybe of a peer whose own news are on their way
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
        """What ranks reported within `timeout` seconds; returns their failures."""
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
        """Send SIGTERM: ranks that train save and return."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the ranks that are still there, at once."""
        self._send(signal.SIGKILL)
        for process in self._processes:
            process.join()

    def _send(self, number: signal.Signals) -> None:
        alive = (process for process in self._processes if process.exitcode is None)
        processes.send(number, (process.pid for process in alive if process.pid is not None))


def run_ranks(fn: Callable[..., Any], size: int, *args: Any, local_size: int | None = None) -> Any:
    """What `fn(world, *args)` returns on rank 0 of `size` ranks; see `LocalRanks`.

    Raises what a rank raised if that is a UserError, else RankFailed.
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
