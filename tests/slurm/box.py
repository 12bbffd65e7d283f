"""A process in a box: whatever it starts ends with it, and it ends with us, however we end.

Slurm's daemons and their jobs leave their parents on purpose. But out of a PID namespace nothing
gets, and when its first process dies the kernel kills the rest.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from launchers.local.processes import children

REQUIRED = "HOMEREC_REQUIRE_SLURM"
"""A variable that is set where a skip would go unseen."""


@contextmanager
def boxed(
    command: list[str],
    log: Path,
    *also: str,
    env: Mapping[str, str] | None = None,
    inside: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in a PID namespace of its own, its output in `log`; killed at the end.

    Args:
        also: more namespaces, as unshare's options name them, e.g. --net.
        inside: the words of `network`, for a box in it.
    """
    box = ["setpriv", "--pdeathsig", "KILL", *inside, "unshare"]
    box += ["--pid", "--fork", "--kill-child", "--mount-proc", *also, "--"]
    with log.open("ab") as out:
        process = subprocess.Popen([*box, *command], env=env, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def network(log: Path) -> Iterator[list[str]]:
    """The words that run a command in a network of its own, where only loopback is.

    No port there is anybody else's, now or later. This host's name means the same as outside.
    """
    with boxed(["sleep", "infinity"], log, "--net") as box:
        pid = first_inside(box)
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]
        # An address besides 127.0.0.1: without one glibc finds no name (AI_ADDRCONFIG).
        own = socket.gethostbyname(socket.gethostname())
        other = "10.78.0.1" if own.startswith("127.") else own
        for words in (["link", "set", "lo", "up"], ["address", "add", f"{other}/32", "dev", "lo"]):
            subprocess.run([*inside, "ip", *words], check=True)
        yield inside


def first_inside(box: subprocess.Popen[bytes]) -> int:
    """The first process of a box, once it is there."""
    until(lambda: bool(children(box.pid)), "the box is up")
    return children(box.pid)[0]


def until(is_so: Callable[[], bool], what: str, within: float = 240) -> None:
    """Look again until it is so."""
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end, f"not within {within} s: {what}"
        threading.Event().wait(0.1)
