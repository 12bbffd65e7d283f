"""Simulates a node of an elastic job on this machine: supervises its agent and its ranks.

    python -m launchers.elastic.node_supervisor --restarts 2 --exit-file F -- COMMAND

A real node that fails takes its ranks with it, and may come back. Here an agent that is killed
leaves its ranks behind: the supervisor kills them, and starts the agent again after a while.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from launchers.local import processes

RESTART_AFTER_S = 90.0
"""Seconds until a lost node is back. The others notice within 15 s, wait 30 s for a replacement
(torchrun's last_call_timeout) and start their ranks; sooner, they would never run without it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code of the agent's last start, which --exit-file gets, too."""
    parser = argparse.ArgumentParser("node_supervisor", description=__doc__)
    parser.add_argument(
        "--restarts", type=int, default=0, help="restarts after the agent is killed"
    )
    parser.add_argument(
        "--after", type=float, default=RESTART_AFTER_S, help="seconds before a restart"
    )
    parser.add_argument("--exit-file", type=Path, required=True, help="file for the exit code")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    command: list[str] = args.command[1:] if args.command[:1] == ["--"] else args.command
    code = supervise(command, restarts=args.restarts, after_s=args.after)
    args.exit_file.write_text(f"{code}\n", encoding="utf-8")
    return code


def supervise(command: list[str], *, restarts: int, after_s: float) -> int:
    """Run `command`; restart it up to `restarts` times if a signal of others kills it."""
    processes.adopt_orphans()
    stopped = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: object) -> None:
        stopped.set()
        for agent in running:
            agent.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    for left in range(restarts, -1, -1):
        running[:] = [subprocess.Popen(processes.dying_with_parent(command))]
        code = running[0].wait()
        processes.send(signal.SIGKILL, processes.below(os.getpid()))
        if code >= 0 or stopped.is_set():
            break
        name = signal.Signals(-code).name
        then = f"restart in {after_s:g} s" if left else "no restart left"
        sys.stderr.write(f"homerec: the agent of this node was killed by {name}; {then}\n")
        sys.stderr.flush()
        if left:
            stopped.wait(after_s)
        if stopped.is_set():
            break
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
