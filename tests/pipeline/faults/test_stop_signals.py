"""The first signal is a request, a second one of its kind an order; the same one twice is one."""

from __future__ import annotations

import os
import signal

import pytest

from launchers.local.fork_server import fork_server
from pipeline.faults import stop_signals
from pipeline.io import interrupts
from pipeline.io.exit_codes import ExitCode


def receive(agent: bool, same_s: float, numbers: tuple[signal.Signals, ...]) -> None:
    os.environ.pop("TORCHELASTIC_RUN_ID", None)
    if agent:
        os.environ["TORCHELASTIC_RUN_ID"] = "x"
    interrupts._SAME_S = same_s
    with stop_signals.stop_requests() as asked:
        for number in numbers:
            signal.raise_signal(number)  # delivered before it returns
            assert asked.received


STOPPED = ExitCode.STOPPED
TERM, USR1 = signal.SIGTERM, signal.SIGUSR1


@pytest.mark.parametrize(
    ("agent", "same_s", "numbers", "code"),
    [
        (False, 60, (TERM,), 0),
        (False, 60, (TERM, TERM), STOPPED),  # no agent: nobody passes one on
        (True, 60, (TERM, TERM), 0),  # Slurm's, and the agent's copy of it
        (True, 0, (TERM, TERM), STOPPED),  # later: meant
        (True, 0, (USR1, TERM), 0),  # the warning, then the end of the time
        (True, 0, (USR1, TERM, USR1), STOPPED),
    ],
)
def test_which_signals_end_a_rank_at_once(
    agent: bool, same_s: float, numbers: tuple[signal.Signals, ...], code: int
) -> None:
    process = fork_server().Process(target=receive, args=(agent, same_s, numbers))
    process.start()
    process.join()
    assert process.exitcode == code
