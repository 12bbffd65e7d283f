"""Simulates a node of an elastic job on this machine: supervises its agent and ranks.

    python -m launchers.elastic.node_supervisor --restarts 2 --exit-file F -- COMMAND

When a real node fails, its ranks end, and it may return. A killed agent leaves its ranks running:
the supervisor kills them and restarts the agent after a delay.
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
"""Seconds until a lost node returns. The others detect the loss within 15 s, wait 30 s for a
replacement (torchrun's last_call_timeout) and start their ranks. With a shorter delay they would
never run without the lost node."""


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the agent's last start, and write it to --exit-file."""
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
    """Run `command`; restart it up to `restarts` times if another process kills it."""
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
        then = f"restarting in {after_s:g} s" if left else "no restarts left"
        sys.stderr.write(f"homerec: the agent of this node was killed by {name}; {then}\n")
        sys.stderr.flush()
        if left:
            stopped.wait(after_s)
        if stopped.is_set():
            break
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
