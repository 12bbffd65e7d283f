"""A simulated node: what ends it, what restarts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# An agent: starts a rank, which holds the test's pipe open (stdout), says its pid, and waits.
_AGENT = """
import os, subprocess, sys
rank = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(os.getpid(), flush=True)
rank.wait()
"""


class Supervisor:
    """`launchers.elastic.node_supervisor` on that agent, and its output."""

    def __init__(self, folder: Path, restarts: int, after_s: float, agent: str = _AGENT) -> None:
        self.exit_file = folder / "exit"
        command = [
            sys.executable,
            "-m",
            "launchers.elastic.node_supervisor",
            "--restarts",
            str(restarts),
        ]
        command += ["--after", str(after_s), "--exit-file", str(self.exit_file)]
        self.process = subprocess.Popen(
            [*command, "--", sys.executable, "-c", agent],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def agent(self) -> int:
        """Process id of the agent that has just started."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def end(self) -> tuple[int, str]:
        """Exit code and words. A rank that is left has the pipes open: then this would not end."""
        _, err = self.process.communicate(timeout=600)
        return self.process.returncode, err


def test_a_killed_agent_takes_its_ranks_along_and_restarts_as_often_as_allowed(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor(tmp_path, restarts=1, after_s=0.01)
    first = supervisor.agent()
    os.kill(first, signal.SIGKILL)
    second = supervisor.agent()
    assert second != first
    os.kill(second, signal.SIGKILL)
    code, err = supervisor.end()
    assert code == 128 + signal.SIGKILL
    assert supervisor.exit_file.read_text(encoding="utf-8") == f"{code}\n"
    assert err.splitlines() == [
        "homerec: the agent of this node was killed by SIGKILL; restarting in 0.01 s",
        "homerec: the agent of this node was killed by SIGKILL; no restarts left",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_nothing_restarts(tmp_path: Path, number: signal.Signals) -> None:
    agent = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + _AGENT
    supervisor = Supervisor(tmp_path, restarts=3, after_s=0.01, agent=agent)
    supervisor.agent()
    supervisor.process.send_signal(number)
    assert supervisor.end() == (128 + number, "")


def test_a_signal_while_the_machine_is_away_ends_it_at_once(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, restarts=1, after_s=3600)
    os.kill(supervisor.agent(), signal.SIGKILL)
    assert supervisor.process.stderr is not None
    assert "restarting in 3600 s" in supervisor.process.stderr.readline()
    supervisor.process.send_signal(signal.SIGTERM)
    assert supervisor.end()[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize("code", [0, 2, 143])
def test_an_agent_that_ends_is_not_started_again(tmp_path: Path, code: int) -> None:
    supervisor = Supervisor(
        tmp_path, restarts=3, after_s=0.01, agent=f"import sys; sys.exit({code})"
    )
    assert supervisor.end() == (code, "")
    assert supervisor.exit_file.read_text(encoding="utf-8") == f"{code}\n"
