"""The process of one local rank."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.io.errors import RankLost, UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.io.streams import escape_unencodable_output


class RankFailed(RuntimeError):
    """A rank raised an exception; the message contains its traceback."""


@dataclass(frozen=True, slots=True)
class RankStart:
    """Parameters of a rank."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    environment: dict[str, str]
    folder: str
    log: Path | None
    rank: int


def run_rank(pipe: Connection, start: RankStart) -> None:
    """Run a rank, in its process."""
    gc.freeze()  # a search for garbage would write to, and so copy, 80 MB shared with the server
    os.setsid()
    _stop_with_parent()
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    if start.log:
        _write_into(start.log, wait=start.rank == 0)
    escape_unencodable_output("utf-8" if start.log else None)
    import torch

    from pipeline.ranks.world import open_world

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].partition(",")[0]))
    reported = succeeded = False
    try:
        with open_world() as world:
            try:
                value = start.fn(world, *start.args)
            except Exception as error:
                # Report before destroying the group: peers that fail as a result report later.
                _send(pipe, error, None)
                reported = True
                raise
            _send(pipe, None, value if world.is_first else None)
            reported = succeeded = True
    except UserError as error:
        if not reported:
            _send(pipe, error, None)
        if start.log:
            sys.stderr.write(f"homerec: error: {error}\n")
        sys.exit(ExitCode.USER_ERROR)
    except Exception as error:  # noqa: BLE001 (the other process raises it)
        if not reported:  # this rank could not join the group
            _send(pipe, error, None)
        if start.log or succeeded:  # nobody raises what fails after the result is sent
            traceback.print_exc()
        if isinstance(error, RankLost):  # threads still wait for the lost rank
            os._exit(ExitCode.RANK_LOST)
        sys.exit(ExitCode.FAILED)


def _send(pipe: Connection, error: Exception | None, value: Any) -> None:
    if error is not None and not isinstance(error, UserError):
        error = RankFailed(f"rank {os.environ.get('RANK', 0)}:\n{traceback.format_exc()}")
    with suppress(BrokenPipeError):  # the parent is gone
        pipe.send_bytes(pickle.dumps((error, value)))


def _stop_with_parent() -> None:
    """Send SIGTERM once when the process that started this rank is gone.

    The kernel's parent-death signal does not work here, because the kernel's parent is the server.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def stop() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()


def _write_into(log: Path, *, wait: bool) -> None:
    """Append both streams to a file; with `wait`, first wait until no other process uses it."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    if wait:
        fcntl.flock(handle, fcntl.LOCK_EX)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
