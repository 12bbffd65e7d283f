"""A Slurm of two nodes on this host, in a folder of its own: munged, slurmctld and two slurmd.

Needs Debian's slurm-wlm, munge and iproute2, and root for the boxes that the daemons run in. No
accounting database, nothing of the system's own, and a network of its own: on a shared one a node
that was lost may find its port taken when it is back.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.slurm.box import boxed, network, until

NODES = ("hn0", "hn1")
_PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol", "srun", "scancel", "squeue"]
_PROGRAMS += ["ip", "nsenter", "unshare", "setpriv"]
_START_S = 60
_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=6817
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
MessageTimeout=60
SlurmdTimeout=15
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=hn0 NodeHostname={host} NodeAddr=127.0.0.1 Port=6818 CPUs=8 RealMemory=4000
NodeName=hn1 NodeHostname={host} NodeAddr=127.0.0.1 Port=6819 CPUs=8 RealMemory=4000
PartitionName=debug Nodes=hn0,hn1 Default=YES PriorityTier=1 GraceTime=60 State=UP
PartitionName=urgent Nodes=hn0,hn1 PriorityTier=2 State=UP
"""


def missing() -> list[str]:
    """Programs that are not installed here."""
    return [name for name in _PROGRAMS if find(name) is None]


def find(program: str) -> str | None:
    """Also where root alone looks: daemons lie in /usr/sbin."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@dataclass
class Cluster:
    """Slurm's daemons.

    Attributes:
        env: the environment in which Slurm's tools find them.
        inside: words that run a command in their network.
    """

    folder: Path
    env: dict[str, str]
    inside: list[str]
    _running: ExitStack = field(default_factory=ExitStack)
    _nodes: dict[str, ExitStack] = field(default_factory=dict)
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def power_on(self, node: str) -> None:
        """Start the node's slurmd. It comes back by itself if it was lost before."""
        self._nodes[node] = ExitStack()
        self._nodes[node].enter_context(self._daemon("slurmd", "-D", "-N", node, log=node))

    def power_off(self, node: str) -> None:
        """Kill its slurmd and every process of its jobs, at once and without a word."""
        self._nodes.pop(node).close()

    def ask(self, *command: str, check: bool = True) -> str:
        """What one of Slurm's tools answers."""
        done = subprocess.run(
            [*self.inside, *command],
            env=self.env,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert not check or done.returncode == 0, f"{done.stderr}\n{self.health()}"
        return done.stdout

    def health(self) -> str:
        """Of each daemon: whether it lives, and its last words. For whoever looks for a cause."""
        found = []
        for log, process in self._daemons.items():
            ended = process.poll()
            how = "runs" if ended is None else f"ended with {ended}"
            last = (
                (self.folder / f"{log}.out")
                .read_text(errors="replace", encoding="utf-8")
                .splitlines()[-8:]
            )
            found.append("\n  ".join([f"{log} {how}", *last]))
        return "\n".join(found)

    def states(self) -> list[str]:
        """Of the nodes, e.g. idle."""
        return self.ask("sinfo", "--noheader", "--Node", "--format=%T", "-p", "debug").split()

    def start(self) -> None:
        """All daemons, until both nodes are idle."""
        munge = ["munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key"]
        munge += [f"--socket={self.folder}/munge.sock", f"--pid-file={self.folder}/munged.pid"]
        munge += [f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed"]
        self._running.enter_context(self._daemon(*munge, log="munged"))
        until((self.folder / "munge.sock").exists, f"munged's socket: {self.folder}", _START_S)
        self._running.enter_context(self._daemon("slurmctld", "-D", log="slurmctld"))
        for node in NODES:
            self.power_on(node)

        def idle() -> bool:
            shown = self.ask("sinfo", "--noheader", "--Node", "-p", "debug", "-o%T", check=False)
            return shown.split() == ["idle"] * len(NODES)

        until(idle, f"idle nodes; look into {self.folder}", _START_S)

    def stop(self) -> None:
        """Kill all daemons and jobs."""
        for node in list(self._nodes):
            self.power_off(node)
        self._running.close()

    @contextmanager
    def _daemon(self, program: str, *words: str, log: str) -> Iterator[None]:
        path = find(program)
        assert path is not None
        out = self.folder / f"{log}.out"
        with boxed([path, *words], out, env=self.env, inside=self.inside) as process:
            self._daemons[log] = process
            yield


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Both nodes idle, in an empty folder of the cluster's own."""
    (folder / "state").mkdir()
    (folder / "cgroup.conf").touch()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(host=socket.gethostname(), user=getpass.getuser(), folder=folder),
        encoding="utf-8",
    )
    with network(folder / "network.out") as inside:
        made = Cluster(folder, {**os.environ, "SLURM_CONF": str(conf)}, inside)
        try:
            made.start()
            yield made
        finally:
            made.stop()
