"""A machine of an elastic job, played on this one: its agent, and what is left when that dies.

    python -m launchers.elastic.node_supervisor --back 2 --exit-file F -- COMMAND

A real machine that is lost takes its ranks with it, and may come back. Here an agent that is killed
leaves its ranks behind: they are killed too, and after a while the agent starts again.
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

BACK_AFTER_S = 90.0
"""Seconds until a lost machine is back. The others see within 15 s that it is lost, wait 30 s more
for one to take its place (torchrun's last_call_timeout), and start their ranks. Were it back sooner
they would never have gone on without it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code of the agent's last start, as a shell says it, also in `exit-file`."""
    parser = argparse.ArgumentParser("keeper", description=__doc__)
    parser.add_argument("--back", type=int, default=0, help="how often a lost machine comes back")
    parser.add_argument("--after", type=float, default=BACK_AFTER_S, help="seconds until then")
    parser.add_argument("--exit-file", type=Path, required=True, help="where the exit code goes")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    command: list[str] = args.command[1:] if args.command[:1] == ["--"] else args.command
    code = keep(command, back=args.back, after_s=args.after)
    args.exit_file.write_text(f"{code}\n", encoding="utf-8")
    return code


def keep(command: list[str], *, back: int, after_s: float) -> int:
    """Run `command`, and again up to `back` times if a signal that we did not pass on killed it."""
    processes.adopt_orphans()
    told = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: object) -> None:
        told.set()
        for agent in running:
            agent.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    for left in range(back, -1, -1):
        running[:] = [subprocess.Popen(processes.dying_with_parent(command))]
        code = running[0].wait()
        processes.send(signal.SIGKILL, processes.below(os.getpid()))
        if code >= 0 or told.is_set():
            break
        name = signal.Signals(-code).name
        then = f"back in {after_s:g} s" if left else "and does not come back"
        sys.stderr.write(f"homerec: this machine's agent was killed by {name}; {then}\n")
        sys.stderr.flush()
        if left:
            told.wait(after_s)
        if told.is_set():
            break
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
