"""Ranks of a short job on this machine, each a process of its own, and what the first returns."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from launchers.local.processes import die_with_parent
from pipeline.io.errors import UserError


class RankFailed(RuntimeError):
    """A rank raised or died; the message has its traceback."""


def run_here(fn: Callable[..., Any], size: int, *args: Any, local_size: int | None = None) -> Any:
    """`fn(world, *args)` on `size` ranks at once; what rank 0's returns.

    `fn` must be at the top level of a module, arguments and result must pickle. `local_size`: ranks
    of what the ranks take for a host (default: all). The machine's cores are divided among the
    ranks unless OMP_NUM_THREADS says how many threads each has.

    Raises what a rank raised if that is a UserError, else RankFailed.
    """
    context = multiprocessing.get_context("spawn")
    local = local_size or size
    common = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(local),
    }
    pipes, ranks = [], []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank % local)}
        process = context.Process(target=_rank, args=(theirs, common | own, fn, args))
        with _threads(max(1, (os.cpu_count() or 1) // size)):
            process.start()
        theirs.close()
        pipes.append(ours)
        ranks.append(process)
    try:
        return _results(pipes, ranks)[0]
    finally:
        for process in ranks:
            process.kill()
            process.join()


def _results(pipes: Sequence[Connection], ranks: Sequence[BaseProcess]) -> list[Any]:
    """What every rank sent; the first to fail fails all, for its peers may wait for it for ever.

    Peers of a rank that failed fail too. Of failures that are there at once the cause comes first:
    a user's mistake, a rank that died, and only then what a rank raised.
    """
    found: dict[int, Any] = {}
    while len(found) < len(pipes):
        waiting = [pipe for n, pipe in enumerate(pipes) if n not in found]
        failures: list[tuple[int, Exception]] = []
        for pipe in wait(waiting):
            assert isinstance(pipe, Connection)
            rank = pipes.index(pipe)
            try:
                failed, found[rank] = pickle.loads(pipe.recv_bytes())
            except EOFError:
                ranks[rank].join()
                died = RankFailed(f"rank {rank} died: exit code {ranks[rank].exitcode}")
                failures.append((1, died))
                continue
            if isinstance(failed, UserError):
                failures.append((0, failed))
            elif failed is not None:
                failures.append((2, RankFailed(f"rank {rank}:\n{failed}")))
        if failures:
            raise min(failures, key=lambda failure: failure[0])[1]
    return [found[rank] for rank in range(len(pipes))]


def _rank(
    pipe: Connection, environment: dict[str, str], fn: Callable[..., Any], args: Sequence[Any]
) -> None:
    die_with_parent()
    os.environ |= environment
    from pipeline.ranks.world import open_world

    with open_world() as world:
        # Sent before the group is gone: peers that fail for want of this rank come later.
        pipe.send_bytes(_outcome(world.is_first, fn, world, *args))


def _outcome(kept: bool, fn: Callable[..., Any], *args: Any) -> bytes:
    """(failure, value), pickled."""
    try:
        value = fn(*args)
        return pickle.dumps((None, value if kept else None))
    except UserError as error:
        return pickle.dumps((error, None))
    except Exception:  # noqa: BLE001 (the parent raises it)
        return pickle.dumps((traceback.format_exc(), None))


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """OpenMP reads it when a rank starts."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(number)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port
