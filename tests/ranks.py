"""Run a function on several gloo ranks, each a process of its own, and get what they return.

They are forked from a server that has imported torch, for that takes longer than most tests.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from launchers.local.fork_server import fork_server

# A busy machine may take long to start the ranks; that is no hang of `fn`.
_START_S = 600
# What a run imports late, and what test modules import.
_IMPORTED = (
    "tests.ranks",
    "torch.distributed.checkpoint.format_utils",
    "torch.utils.tensorboard",
    "pipeline.report.run_report",
    "plotly.graph_objs._bar",
    "plotly.graph_objs._figure",
    "plotly.graph_objs._scatter",
    "plotly.offline.offline",
    "models.towers.home",
    "narwhals.stable.v1",
    "hypothesis",
    "sklearn.metrics",
)


class RankError(AssertionError):
    """A rank raised, died or hung; the message holds the tracebacks, the first to fail first."""


def run_ranks(fn: Callable[..., Any], world_size: int = 2, *args: Any, timeout: float = 600) -> Any:
    """`[fn(rank, world_size, *args) for each rank]`, the ranks running at once.

    The default process group is up (gloo) when `fn` is called, and RANK, WORLD_SIZE, LOCAL_RANK
    and LOCAL_WORLD_SIZE are set as torchrun sets them. `fn` must be a function at the top level of
    a module; its arguments and results must pickle. One thread a rank.

    Args:
        timeout: seconds until a rank in `fn` counts as hung.

    Raises:
        RankError: with the failing rank's traceback, or every rank's stack where it hung.
    """
    # Before the server imports torch: OpenMP reads it once.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        context = fork_server(*_IMPORTED)
        environment = dict(os.environ)
    streams = (_Stream(1), _Stream(2))  # as captured now, not when the server started
    with tempfile.TemporaryDirectory(prefix="ranks") as name:
        folder = Path(name)
        ranks = [
            context.Process(
                target=_rank,
                args=(rank, world_size, environment, streams, folder, timeout, fn, args),
            )
            for rank in range(world_size)
        ]
        for process in ranks:
            process.start()
        _join(ranks, folder)
        return [pickle.loads((folder / f"result{rank}").read_bytes()) for rank in range(world_size)]


class _Stream:
    """A file descriptor; in the process it is sent to, the number of a copy."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (DupFd(self._number),)


def _received(copy: Any) -> int:
    return int(copy.detach())


def _join(ranks: Sequence[BaseProcess], folder: Path) -> None:
    """Wait for all ranks; when one fails the others may wait for it for ever, so end them."""
    running = list(ranks)
    while running:
        wait([process.sentinel for process in running])
        running = [process for process in running if process.is_alive()]
        if any(process.exitcode for process in ranks):
            for process in running:
                process.kill()
            for process in ranks:
                process.join()
            # A rank that raises makes its peers fail too: the oldest report is the cause.
            reports = [path for path in folder.glob("error*") if path.stat().st_size]
            reports.sort(key=lambda path: path.stat().st_mtime_ns)
            codes = [process.exitcode for process in ranks]
            raise RankError(
                f"exit codes by rank: {codes}\n"
                + "\n".join(path.read_text(encoding="utf-8") for path in reports)
            )


def _rank(
    rank: int,
    world_size: int,
    environment: dict[str, str],
    streams: tuple[int, int],
    folder: Path,
    timeout: float,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ |= environment | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
    }
    torch.set_num_threads(1)
    with (folder / f"error{rank}").open("w", encoding="utf-8") as report:
        try:
            # Its own file, for it writes past Python's buffer; exit=True ends the process.
            with (folder / f"error{rank}hang").open("w", encoding="utf-8") as stacks:
                faulthandler.dump_traceback_later(_START_S, exit=True, file=stacks)
                store = f"file://{folder / 'store'}"
                dist.init_process_group("gloo", store, rank=rank, world_size=world_size)
                faulthandler.dump_traceback_later(timeout, exit=True, file=stacks)
                result = fn(rank, world_size, *args)
                (folder / f"result{rank}").write_bytes(pickle.dumps(result))
                if dist.is_initialized():
                    dist.barrier()  # Nobody hangs up on a rank that is still reading.
                    dist.destroy_process_group()
                faulthandler.cancel_dump_traceback_later()
        except BaseException:
            report.write(f"rank {rank}:\n{traceback.format_exc()}")
            raise
