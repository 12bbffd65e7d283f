"""The first signal is a request, a second one of its kind an order; the same one twice is one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A process of its own: the second signal is to end it.
_RANK = """\
import os, signal, sys
from pipeline import watch
watch._SAME_S = float(sys.argv[1])
with watch.stop_requests() as asked:
    for name in sys.argv[2:]:
        os.kill(os.getpid(), signal.Signals[name])
        print(asked.received, flush=True)
print("saved")
"""


def rank(same_s: float, *signals: str, agent: bool) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "TORCHELASTIC_RUN_ID"}
    env |= {"PYTHONPATH": str(ROOT)} | ({"TORCHELASTIC_RUN_ID": "x"} if agent else {})
    command = [sys.executable, "-c", _RANK, str(same_s), *signals]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("signals", "agent", "same_s", "code"),
    [
        (["SIGTERM"], False, 60, 0),
        (["SIGTERM", "SIGTERM"], False, 60, -signal.SIGTERM),  # no agent: nobody passes one on
        (["SIGTERM", "SIGTERM"], True, 60, 0),  # Slurm's, and the agent's copy of it
        (["SIGTERM", "SIGTERM"], True, 0, -signal.SIGTERM),  # later: meant
        (["SIGUSR1", "SIGTERM"], True, 0, 0),  # the warning, then the end of the time
        (["SIGUSR1", "SIGTERM", "SIGUSR1"], True, 0, -signal.SIGUSR1),
    ],
)
def test_which_signals_end_a_rank_at_once(
    signals: list[str], agent: bool, same_s: float, code: int
) -> None:
    done = rank(same_s, *signals, agent=agent)
    assert done.returncode == code, done.stderr
    noted = len(signals) if code == 0 else len(signals) - 1
    assert done.stdout.splitlines() == ["True"] * noted + ["saved"] * (code == 0)
