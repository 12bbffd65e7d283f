"""A process in a box: whatever it starts ends with it, and it ends with us, however we end.

Slurm's daemons and their jobs leave their parents on purpose. But out of a PID namespace nothing
gets, and when its first process dies the kernel kills the rest.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def boxed(
    command: list[str], log: Path, *also: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in a PID namespace of its own, its output in `log`; killed at the end.

    Args:
        also: more namespaces, as unshare's options name them, e.g. --net.
    """
    box = ["setpriv", "--pdeathsig", "KILL", "unshare"]
    box += ["--pid", "--fork", "--kill-child", "--mount-proc", *also, "--"]
    with log.open("ab") as out:
        process = subprocess.Popen([*box, *command], env=env, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
