"""The first signal is a request, a second one of its kind an order; the same one twice is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# A rank for each case, forked off one process that has imported everything.
_RANKS = """\
import json, os, signal, sys, traceback
from pipeline.faults import stop_signals as watch

def rank(agent, same_s, signals):
    os.environ.pop("TORCHELASTIC_RUN_ID", None)
    if agent:
        os.environ["TORCHELASTIC_RUN_ID"] = "x"
    watch._SAME_S = same_s
    with watch.stop_requests() as asked:
        for name in signals:
            signal.raise_signal(signal.Signals[name])  # delivered before it returns
            assert asked.received

ends = []
for case in json.loads(sys.argv[1]):
    if (pid := os.fork()) == 0:
        try:
            rank(*case)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(json.dumps(ends))
"""

# Under an agent?, seconds within which two are one, signals, exit code.
CASES = [
    (False, 60, ["SIGTERM"], 0),
    (False, 60, ["SIGTERM", "SIGTERM"], -signal.SIGTERM),  # no agent: nobody passes one on
    (True, 60, ["SIGTERM", "SIGTERM"], 0),  # Slurm's, and the agent's copy of it
    (True, 0, ["SIGTERM", "SIGTERM"], -signal.SIGTERM),  # later: meant
    (True, 0, ["SIGUSR1", "SIGTERM"], 0),  # the warning, then the end of the time
    (True, 0, ["SIGUSR1", "SIGTERM", "SIGUSR1"], -signal.SIGUSR1),
]


def test_which_signals_end_a_rank_at_once() -> None:
    cases = json.dumps([case[:-1] for case in CASES])
    command = [sys.executable, "-c", _RANKS, cases]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for case, end in zip(CASES, json.loads(done.stdout), strict=True):
        assert end == case[-1], (case, done.stderr)
