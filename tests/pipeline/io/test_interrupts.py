"""The first signal unwinds the stack, a second one ends the process, and the last come too late."""

from __future__ import annotations

import os
import pickle
import signal
from multiprocessing.connection import Connection

import pytest

from launchers.local.fork_server import fork_server
from pipeline.io import interrupts
from pipeline.io.exit_codes import ExitCode


def receive(pipe: Connection, agent: bool, same_s: float, again: int) -> None:
    """Three signals: in the work, in undoing it, and once all is over."""
    os.environ.pop("TORCHELASTIC_RUN_ID", None)
    if agent:
        os.environ["TORCHELASTIC_RUN_ID"] = "x"
    interrupts._SAME_S = same_s
    try:
        with interrupts.interrupts():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                if again:
                    signal.raise_signal(again)
                pipe.send("undone")
    except interrupts.Interrupted as stop:
        pipe.send(str(stop))
    for number in interrupts.NUMBERS:
        signal.raise_signal(number)


@pytest.mark.parametrize(
    ("agent", "same_s", "again", "code"),
    [
        (False, 60, 0, 0),
        (False, 60, signal.SIGINT, ExitCode.STOPPED),
        (True, 60, signal.SIGTERM, 0),  # the agent's copy of it
        (True, 0, signal.SIGTERM, ExitCode.STOPPED),
    ],
)
def test_what_each_signal_does(agent: bool, same_s: float, again: int, code: int) -> None:
    ours, theirs = fork_server().Pipe(duplex=False)
    process = fork_server().Process(target=receive, args=(theirs, agent, same_s, again))
    process.start()
    theirs.close()
    process.join()
    assert process.exitcode == code
    if code:
        with pytest.raises(EOFError):  # it said nothing any more
            ours.recv()
    else:
        assert (ours.recv(), ours.recv()) == ("undone", "stopped by SIGTERM")


def test_it_can_be_sent_to_another_rank() -> None:
    """torch.distributed.checkpoint pickles what a rank raised."""
    stop = pickle.loads(pickle.dumps(interrupts.Interrupted("stopped by SIGTERM")))
    assert str(stop) == "stopped by SIGTERM"
