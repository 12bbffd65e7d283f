"""The processes of the loop, each a `homerec` command with a log file of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HOMEREC = (sys.executable, "-m", "launchers.cli.main")


def run(words: list[str], log: Path) -> None:
    """Run a command to its end. Raises SystemExit with its log's place if it fails."""
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run([*HOMEREC, *words], stdout=file, stderr=file, check=False)
    if done.returncode:
        raise SystemExit(f"homerec {words[0]} failed; see {log}")


@contextmanager
def running(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the end of the block, then stop it with SIGTERM."""
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen([*HOMEREC, *words], stdout=file, stderr=file)
    with ExitStack() as stack:
        stack.callback(_stop, process)
        yield process
        if (code := process.poll()) is not None:
            raise SystemExit(f"homerec {words[0]} ended by itself with {code}; see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
