"""`homerec`, but for a fault that it meets: what each rank of a job in `benchmarks.kills` runs.

The fault comes as JSON in HOMEREC_FAULT. Where it is at a rank or its agent the rank sends the
signal itself; for the others it leaves a file at HOMEREC_MARK, and whoever started the job acts.
Beside it a file '.struck' says that the fault was met.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.kills.faults import Fault


def main() -> int:
    """The exit code of `homerec` with the same words."""
    from launchers import cli

    if fault := os.environ.get("HOMEREC_FAULT"):
        _arm(Fault(**json.loads(fault)))
    return cli.main()


def _arm(fault: Fault) -> None:
    import pipeline.checkpoint as checkpoint
    import pipeline.checkpoint_writer as writer
    import pipeline.train as train

    if int(os.environ.get("RANK", 0)) != fault.rank:
        return
    owner: Any
    owner, name = {
        "step": (train, "_advance"),
        "evaluation": (train, "evaluate"),
        "load": (checkpoint, "load_newest"),
        "save": (writer.CheckpointWriter, "write_data"),
    }[fault.place]
    setattr(owner, name, _struck(getattr(owner, name), fault))


def _struck(real: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(real)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fault.nth:
            if fault.delay_s:
                threading.Timer(fault.delay_s, _strike, [fault]).start()
            else:
                _strike(fault)
        return real(*args, **kwargs)

    return call


def _strike(fault: Fault) -> None:
    mark = Path(os.environ["HOMEREC_MARK"])
    mark.with_suffix(".struck").touch()
    if fault.how == "rank":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.how == "agent":
        os.kill(os.getppid(), signal.SIGKILL)
        return
    mark.with_suffix(".new").write_text(fault.how)
    mark.with_suffix(".new").rename(mark)
    if fault.how == "disk":
        # Wait until it is full: it must be so before the rank writes.
        while mark.exists():
            threading.Event().wait(0.005)


if __name__ == "__main__":
    sys.exit(main())
