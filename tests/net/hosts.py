"""Two machines on this host: names, addresses and processes of their own, one wire between them.

They share the disk, as a cluster's nodes do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.net.wire import DEVICE, Wire, wire
from tests.slurm.box import boxed, first_inside, until

NAMES = ("left", "right")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
_BOX = ("--net", "--uts", "--mount")
_PROGRAMS = ("unshare", "nsenter", "setpriv", "ip")


@dataclass(frozen=True)
class Host:
    """One machine.

    Attributes:
        pid: of its first process; the machine is there as long as this is.
    """

    name: str
    address: str
    pid: int

    def start(
        self, command: Sequence[str], folder: Path, log: Path, env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Run `command` on it, in `folder`, both its streams in `log`."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--uts", "--mount", "--pid", "--"]
        with log.open("wb") as out:
            return subprocess.Popen(
                [*enter, "env", f"--chdir={folder}", *command], env=env, stdout=out, stderr=out
            )


def lacking() -> str:
    """Why this host cannot be two machines; empty if it can."""
    if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
        return f"not installed: {', '.join(missing)} (Debian: util-linux, iproute2)"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} is not there or not ours"
    tried = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *_BOX, "true"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return tried.stderr.strip()


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[list[Host], Wire]]:
    """Both machines up and wired. What they run ends with them."""
    names = folder / "hosts"
    lines = [f"{address} {name}" for name, address in zip(NAMES, ADDRESSES, strict=True)]
    names.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]), encoding="utf-8")
    with ExitStack() as stack:
        hosts = []
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            up = folder / f"{name}.up"
            up.unlink(missing_ok=True)
            script = 'hostname "$1"; mount --bind "$2" /etc/hosts; : > "$3"; exec sleep infinity'
            init = ["bash", "-ec", script, "bash", name, str(names), str(up)]
            box = stack.enter_context(boxed(init, folder / f"{name}.out", *_BOX))
            until(up.exists, f"{name} is up", 60)
            hosts.append(Host(name, address, first_inside(box)))
        yield hosts, stack.enter_context(wire([host.pid for host in hosts], ADDRESSES))
