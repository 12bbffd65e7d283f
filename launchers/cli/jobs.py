"""`homerec status`, `logs` and `cancel`: manage a job by the handle that `launch` printed."""

from __future__ import annotations

import sys
import threading
import time
from queue import SimpleQueue
from typing import Any

from launchers.torchx.schedulers import open_runner, read_handle, service_errors, tools_of
from pipeline.io.errors import UserError

_POLL_S = 1.0


def status(handle: str, /) -> int:
    """Show the state of a job.

    Args:
        handle: handle of the job, as printed by 'launch': SCHEDULER://...
    """
    with open_runner() as runner:
        found = _status(runner, handle)
    again = f", restarts: {found.num_restarts}" if found.num_restarts else ""
    said = found.msg or found.state.name
    sys.stdout.write(f"{handle}: {said}{again}\n")
    return 0


def cancel(handle: str, /) -> int:
    """Stop a job after it has saved a checkpoint. 'homerec status' shows when it has ended.

    Args:
        handle: handle of the job, as printed by 'launch': SCHEDULER://...
    """
    from torchx.specs import is_terminal

    with open_runner() as runner:
        scheduler, _ = read_handle(runner, handle)
        state = _status(runner, handle).state
        if is_terminal(state):
            raise UserError(f"{handle}: already ended ({state.name}); nothing to cancel")
        with tools_of(scheduler), service_errors(scheduler):
            runner.cancel(handle)
    sys.stdout.write(f"{handle}: stopping; the ranks save a checkpoint first\n")
    return 0


def logs(
    handle: str,
    /,
    *,
    follow: bool = False,
    node: int | None = None,
) -> int:
    """Show the logs of a job.

    Args:
        handle: handle of the job, as printed by 'launch': SCHEDULER://...
        follow: continue until the job has ended.
        node: index of one machine to show, from 0.
    """
    with open_runner() as runner:
        return show_logs(runner, handle, node=node, wait=follow)


def show_logs(runner: Any, handle: str, *, node: int | None = None, wait: bool = True) -> int:
    """Print the job's stdout and stderr, each line prefixed with its machine's index.

    With `wait`, print until the job ends; returns 0 if it succeeded, else 1. Without, print the
    current content and return 0.
    """
    from torchx.schedulers.api import Stream
    from torchx.specs import AppState, is_terminal
    from torchx.specs.api import is_started

    scheduler, _ = read_handle(runner, handle)
    found = _status(runner, handle)
    while wait and not (is_started(found.state) or is_terminal(found.state)):
        time.sleep(_POLL_S)
        found = _status(runner, handle)
    roles = [(role.role, replica.id) for role in found.roles for replica in role.replicas]
    chosen = [one for one in roles if node in (None, one[1])]
    if not chosen:
        raise UserError(f"command line: --node {node}: the job has machines 0 to {len(roles) - 1}")
    failures: SimpleQueue[Exception] = SimpleQueue()

    def show(role: str, k: int, stream: Any, to: Any) -> None:
        try:
            for line in runner.log_lines(handle, role, k, should_tail=wait, streams=stream):
                to.write(f"[node{k}] {line}" if line.endswith("\n") else f"[node{k}] {line}\n")
                to.flush()
        except Exception as error:  # noqa: BLE001 (raised again below)
            failures.put(error)

    both = ((Stream.STDOUT, sys.stdout), (Stream.STDERR, sys.stderr))
    threads = [
        threading.Thread(target=show, args=(role, k, stream, to), daemon=True)
        for role, k in chosen
        for stream, to in both
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not failures.empty():
        error = failures.get()
        if isinstance(error, RuntimeError) and "finished without writing" in str(error):
            raise UserError(f"{handle}: ended without writing a log: {found.msg}") from error
        with tools_of(scheduler), service_errors(scheduler):
            raise error
    if not wait:
        return 0
    return 0 if _status(runner, handle).state == AppState.SUCCEEDED else 1


def _status(runner: Any, handle: str) -> Any:
    """Return the state of a job. Raises UserError if it is unknown."""
    scheduler, app = read_handle(runner, handle)
    with tools_of(scheduler), service_errors(scheduler):
        found = runner.status(handle)
    if found is None:
        raise UserError(
            f"{handle}: {scheduler} has no job {app!r}, and there is no exit file here; run this "
            "in the folder where the job was launched"
        )
    return found
