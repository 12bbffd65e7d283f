"""A Slurm of two nodes on this host, in a folder of its own: munged, slurmctld and two slurmd.

Needs Debian's slurm-wlm and munge. No root, no accounting database, nothing of the system's own.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NODES = ("hn0", "hn1")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "srun", "scancel", "squeue")
_START_S = 60
_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SlurmdParameters=config_overrides
MinJobAge=300
NodeName=hn0 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=4000
NodeName=hn1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=4000
PartitionName=debug Nodes=hn0,hn1 Default=YES MaxTime=INFINITE OverSubscribe=YES State=UP
"""


def missing() -> list[str]:
    """Programs that are not installed here."""
    return [name for name in _PROGRAMS if find(name) is None]


def find(program: str) -> str | None:
    """Also where root alone looks: daemons lie in /usr/sbin."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def until(is_so: Callable[[], bool], what: str, within: float = 120) -> None:
    """Look again until it is so."""
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end, f"not within {within} s: {what}"
        threading.Event().wait(0.1)


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Both nodes idle. Yields the environment in which Slurm's tools find it."""
    (folder / "state").mkdir()
    (folder / "cgroup.conf").touch()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(
            host=socket.gethostname(), user=getpass.getuser(), folder=folder, ports=_free_ports(3)
        )
    )
    env = {**os.environ, "SLURM_CONF": str(conf)}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munged += [f"--socket={folder}/munge.sock", f"--pid-file={folder}/munged.pid"]
    munged += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"]
    with ExitStack() as running:
        running.enter_context(_daemon(munged, env, folder / "munged.out"))
        until((folder / "munge.sock").exists, "munged's socket", _START_S)
        running.enter_context(_daemon(["slurmctld", "-D"], env, folder / "slurmctld.out"))
        for node in NODES:
            daemon = _daemon(["slurmd", "-D", "-N", node], env, folder / f"slurmd{node}.out")
            running.enter_context(daemon)

        def idle() -> bool:
            shown = ask(env, "sinfo", "--noheader", "--Node", "--format=%T", check=False)
            return shown.split() == ["idle"] * len(NODES)

        def empty() -> bool:
            return not ask(env, "squeue", "--noheader").strip()

        until(idle, f"idle nodes; look into {folder}", _START_S)
        try:
            yield env
        finally:
            ask(env, "scancel", "--user", getpass.getuser())
            until(empty, "an empty queue")


def ask(env: dict[str, str], *command: str, check: bool = True) -> str:
    """What one of Slurm's tools answers."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def _daemon(command: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    program = find(command[0])
    assert program is not None
    with log.open("w") as out:
        process = subprocess.Popen([program, *command[1:]], env=env, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
