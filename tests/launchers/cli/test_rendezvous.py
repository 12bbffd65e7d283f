"""The rendezvous store as a process: agents of a job that use it, a port that is taken."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from launchers.cli.main import main

_STORE = [sys.executable, "-m", "launchers.cli", "rendezvous", "--port"]
_AGENT = [sys.executable, "-m", "launchers.elastic.agent", "--nnodes", "2", "--nproc_per_node", "1"]
_AGENT += ["--rdzv_backend", "c10d", "--rdzv_id", "here", "--rdzv_conf", "is_host=0"]
_AGENT += ["--local_addr", "localhost", "--no-python", "bash", "-c", "echo $RANK of $WORLD_SIZE"]


@pytest.fixture
def place() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and where it said that it listens."""
    with subprocess.Popen([*_STORE, "0"], stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            yield process, said.split()[3].rstrip(":")
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked_to(
    place: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    process, address = place
    assert address.startswith(f"{socket.gethostname()}:")
    process.send_signal(number)
    assert process.wait() == 0


def test_agents_rendezvous_there_and_it_outlives_their_job(
    place: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = place
    endpoint = f"localhost:{address.rpartition(':')[2]}"
    words = list(_AGENT)
    words[words.index("--local_addr") : words.index("--local_addr")] = ["--rdzv_endpoint", endpoint]
    agents = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        for _ in range(2)
    ]
    ends = [agent.communicate() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], ends
    assert sorted(out.strip() for out, _ in ends) == ["0 of 2", "1 of 2"]
    assert process.poll() is None


def test_a_port_that_is_taken_is_a_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["rendezvous", "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"homerec: error: command line: --port {port}: ")
    assert line.endswith("use another port, or 0 for any free one")
    # Blocked signals would pass on to every process that this one starts.
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, set())
