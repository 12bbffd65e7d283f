"""`homerec`, but for a fault that it meets: what each rank of a job in `benchmarks.kills` runs.

The fault comes as JSON in HOMEREC_FAULT. What is to be killed is killed from here, while the rank
is in the place of the fault. For what only a bystander can do (all at once, a full disk) the rank
stops itself there and leaves a file at HOMEREC_MARK for whoever started the job. Beside it a file
'.struck' says that the fault was met, and where.
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
    from launchers.cli import main as cli

    fault = os.environ.get("HOMEREC_FAULT")
    if fault and json.loads(fault)["rank"] == int(os.environ.get("RANK", 0)):
        _Armed(Fault(**json.loads(fault)))
    return cli.main()


class _Armed:
    """Wraps the function that is the fault's place."""

    def __init__(self, fault: Fault) -> None:
        import pipeline.checkpoint.commit as commit
        import pipeline.checkpoint.save as checkpoint
        from pipeline.loop.run import Run
        from pipeline.loop.segments import Segments

        self._fault = fault
        self._delay_s = fault.delay_s
        self._calls = 0
        self._inside = False
        real = commit.Committer.writer

        def writer(committer: Any, progress: Any, base: int | None) -> Any:
            made = real(committer, progress, base)
            if (base is not None) == (fault.place == "incremental"):
                made.write_data = self._watched(made.write_data)  # type: ignore[method-assign]
            return made

        if fault.place in ("save", "incremental"):
            commit.Committer.writer = writer  # type: ignore[method-assign]
            return
        owner: Any
        owner, name = {
            "step": (Segments, "_step"),
            "evaluation": (Run, "evaluate"),
            "load": (checkpoint, "load_newest"),
            "commit": (commit.Committer, "_commit"),
        }[fault.place]
        setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls += 1
            self._inside = True
            if self._calls == self._fault.nth:
                if self._delay_s:
                    threading.Timer(self._delay_s, self._strike).start()
                else:
                    self._strike()
            try:
                return real(*args, **kwargs)
            finally:
                self._inside = False

        return call

    def _strike(self) -> None:
        fault = self._fault
        if not self._inside:  # it was quicker than the delay: at once, then, the next time
            self._calls, self._delay_s = fault.nth - 1, 0.0
            return
        mark = Path(os.environ["HOMEREC_MARK"])
        mark.with_suffix(".struck").write_text(fault.place, encoding="utf-8")
        if fault.how == "rank":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.how == "agent":
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)  # a machine that is lost takes its rank along
        elif fault.how == "sigterm":
            os.kill(int(os.environ["HOMEREC_LAUNCHER"]), signal.SIGTERM)
        else:
            mark.with_suffix(".new").write_text(str(os.getpid()), encoding="utf-8")
            mark.with_suffix(".new").rename(mark)
            os.kill(os.getpid(), signal.SIGSTOP)  # stays here, with all its threads


if __name__ == "__main__":
    sys.exit(main())
