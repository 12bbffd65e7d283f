"""A rank that is lost is named by the others, whichever way it was lost, and nobody hangs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from torch._C._distributed_c10d import HashStore

from launchers.local.processes import below, send
from pipeline.ranks.heartbeat import Heartbeat, Pulse, watched

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("freeze", r"does not answer \(its last word was from step \d\)"),
        ("lock-up", r"does not answer \(its last word was from step \d\)"),
        ("dawdle", "is alive, at step 7, but did not come within 3 s"),
    ],
)
def test_the_lost_rank_is_named(what: str, said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launchers.elastic.agent", "--nproc_per_node", "2"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    command += ["--local_addr", "localhost", "--shutdown_timeout", "8"]
    # An agent stops its ranks once one failed: each word must be out by then.
    command += [
        "--tee",
        "3",
        "--log_dir",
        str(tmp_path),
        "-m",
        "tests.pipeline.ranks.lost_job",
        what,
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    log = tmp_path / "agent.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, env=env, stderr=out) as agent:
        while agent.poll() is None:
            # The agent would give a frozen rank 30 s to end: long enough once the word is out.
            if "lost: step" in log.read_text():
                send(signal.SIGKILL, [pid for pid in below(agent.pid) if stopped(pid)])
            threading.Event().wait(0.1)
    assert agent.returncode == 75, log.read_text()
    assert re.search(rf"lost: step 7: rank 1 on \S+ {said}", log.read_text()), log.read_text()


def test_the_next_rank_is_well_as_long_as_it_has_news_or_has_left_in_order() -> None:
    store = HashStore()
    beat = Heartbeat(store, 1, 2, 600, Pulse())  # of two: the next one is rank 0
    assert not beat._next_is_well()
    store.set("beat0", "1 0 host")
    assert beat._next_is_well()
    assert not beat._next_is_well()
    store.set("beat0", "2 0 host")
    assert beat._next_is_well()
    with watched(Heartbeat(store, 0, 2, 600, Pulse(step=3)), Pulse()):
        pass
    assert beat._next_is_well()
    assert beat._next_is_well()
    beat.close()


def stopped(pid: int) -> bool:
    """Whether SIGSTOP holds it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:  # it ended meanwhile
        return False
