"""Ranks of an elastic job that loses a machine in the middle, and gets it back.

    python -m tests.integration.checkpoint.lost_machine launch ...

Rank 1 kills its own agent with SIGKILL at the start of step `LOST_AT`, once in the life of the job.
The one that continues alone waits before step `ALONE_UNTIL` until a signal stops it, for the other
machine is back: else a quick run would have ended before.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOST_AT = 8
ALONE_UNTIL = 12


def main() -> int:
    """The exit code of `homerec` with the same words."""
    from launchers.cli import main as cli
    from pipeline import train
    from pipeline.faults import stop_signals
    from pipeline.training.hooks import Hooks

    ranks, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    lost = Path(os.environ["LOST"])
    before_step, stop_requests = Hooks.before_step, stop_signals.stop_requests
    requests: list[Any] = []

    @contextmanager
    def noted() -> Iterator[Any]:
        with stop_requests() as request:
            requests.append(request)
            yield request

    def before(hooks: Hooks, step: int) -> None:
        if ranks == 2 and rank == 1 and step == LOST_AT and not lost.exists():
            lost.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            threading.Event().wait()  # a lost machine does not continue, either
        while ranks == 1 and step == ALONE_UNTIL and not requests[-1].received:
            threading.Event().wait(0.05)
        before_step(hooks, step)

    Hooks.before_step = before  # type: ignore[method-assign,assignment]
    train.stop_requests = noted  # type: ignore[attr-defined]
    return cli.main()


def start() -> int:
    from launchers.cli import launch
    from launchers.cli.main import main as homerec

    launch.RANK_MODULE = "tests.integration.checkpoint.lost_machine"
    return homerec(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(start() if sys.argv[1:2] == ["launch"] else main())
