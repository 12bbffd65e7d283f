"""A machine played here, by processes as they are: what ends it, what brings it back."""

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


class Kept:
    """`launchers.elastic.node_supervisor` on that agent, and what it says."""

    def __init__(self, folder: Path, back: int, after_s: float, agent: str = _AGENT) -> None:
        self.exit_file = folder / "exit"
        command = [sys.executable, "-m", "launchers.elastic.node_supervisor", "--back", str(back)]
        command += ["--after", str(after_s), "--exit-file", str(self.exit_file)]
        self.process = subprocess.Popen(
            [*command, "--", sys.executable, "-c", agent],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def agent(self) -> int:
        """Process id of the agent that has just started."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def end(self) -> tuple[int, str]:
        """Exit code and words. A rank that is left has the pipes open: then this would not end."""
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told


def test_a_killed_agent_takes_its_ranks_along_and_comes_back_as_often_as_said(
    tmp_path: Path,
) -> None:
    kept = Kept(tmp_path, back=1, after_s=0.01)
    first = kept.agent()
    os.kill(first, signal.SIGKILL)
    second = kept.agent()
    assert second != first
    os.kill(second, signal.SIGKILL)
    code, told = kept.end()
    assert code == 128 + signal.SIGKILL
    assert kept.exit_file.read_text(encoding="utf-8") == f"{code}\n"
    assert told.splitlines() == [
        "homerec: this machine's agent was killed by SIGKILL; back in 0.01 s",
        "homerec: this machine's agent was killed by SIGKILL; and does not come back",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_nothing_comes_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    agent = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + _AGENT
    kept = Kept(tmp_path, back=3, after_s=0.01, agent=agent)
    kept.agent()
    kept.process.send_signal(number)
    assert kept.end() == (128 + number, "")


def test_a_signal_while_the_machine_is_away_ends_it_at_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path, back=1, after_s=3600)
    os.kill(kept.agent(), signal.SIGKILL)
    assert kept.process.stderr is not None
    assert "back in 3600 s" in kept.process.stderr.readline()
    kept.process.send_signal(signal.SIGTERM)
    assert kept.end()[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize("code", [0, 2, 143])
def test_an_agent_that_ends_is_not_started_again(tmp_path: Path, code: int) -> None:
    kept = Kept(tmp_path, back=3, after_s=0.01, agent=f"import sys; sys.exit({code})")
    assert kept.end() == (code, "")
    assert kept.exit_file.read_text(encoding="utf-8") == f"{code}\n"
