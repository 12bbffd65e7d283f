"""SIGINT, SIGTERM and SIGUSR1 as an exception, from the first moment of a command to its last.

Where a command saves before it stops it has handlers of its own meanwhile (faults/stop_signals.py,
local/local_job.py). Everywhere else, imports included, a signal unwinds the stack, so that what is
half done is undone, and ends the process with ExitCode.STOPPED.

In an import it ends the process at once: there nothing is half done, and libraries that do without
a package they cannot import would take the exception for that (torch without NumPy).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.io.exit_codes import ExitCode

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

# Slurm signals every process of a job, torchrun among them, which passes the signal on: under an
# agent a rank gets each twice. Within this many seconds it is the same one.
_SAME_S = 5.0


class Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end. `time`: when it came, in seconds since 1970."""

    def __init__(self, message: str) -> None:  # which rebuilds it: DCP sends it between ranks
        super().__init__(message)
        self.time = time.time()


def same_signal_s() -> float:
    """For how many seconds a second signal is the first one, passed on."""
    return _SAME_S if "TORCHELASTIC_RUN_ID" in os.environ else 0.0


def exit_at_once(number: int, how: str = " once more") -> None:
    """End the process, saving and undoing nothing: for a second signal, or one in an import."""
    os.write(2, f"homerec: stopped by {signal.Signals(number).name}{how}\n".encode())
    os._exit(ExitCode.STOPPED)


@contextmanager
def interrupts() -> Iterator[None]:
    """Signals raise Interrupted; a second one while the stack unwinds ends the process at once.

    Afterwards they are ignored: the exit code is known, and nothing is left to stop.
    """
    first: float | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is None and _is_importing(frame):
            exit_at_once(number, "")
        if first is None:
            first = now
            raise Interrupted(f"stopped by {signal.Signals(number).name}")
        if now - first >= same_signal_s():
            exit_at_once(number)

    for number in NUMBERS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells without jobs ask for
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
