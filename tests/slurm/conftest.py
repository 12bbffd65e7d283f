"""The cluster, the data, and `homerec` as a person at the cluster's login node would call it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.data.prepare.synthetic import prepare_synthetic
from tests.slurm.box import REQUIRED, until
from tests.slurm.cluster import NODES, Cluster, cluster, missing

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Login:
    """A folder on the cluster, with data in it, and the tools."""

    folder: Path
    env: dict[str, str]
    cluster: Cluster

    def homerec(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`homerec WORDS`, run to its end in this folder."""
        command = [*self.cluster.inside, sys.executable, "-P", "-m", "launchers.cli", *words]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def launch(self, *words: str) -> str:
        """`homerec launch` on two nodes of one rank; the job's handle."""
        options = ["--scheduler", "slurm", "--nnodes", "2", "--nproc", "1", "--cpu", "1"]
        done = self.homerec("launch", *options, *words)
        assert done.returncode == 0, done.stderr
        found = re.match(r"submitted (\S+)\n", done.stdout)
        assert found
        return found[1]

    def ask(self, *command: str) -> str:
        return self.cluster.ask(*command)

    def state(self, handle: str) -> str:
        """The rest of the line that `homerec status` prints."""
        done = self.homerec("status", handle)
        assert done.returncode == 0, done.stderr
        return done.stdout.removeprefix(f"{handle}: ").strip()

    def now(self, handle: str) -> str:
        """Slurm's own word for the job's state: cheaper than `state`, to ask again and again."""
        return (
            self.ask("scontrol", "show", "job", "--oneliner", number(handle))
            .partition("JobState=")[2]
            .partition(" ")[0]
        )

    def ended(self, handle: str) -> str:
        """The state once the job is over."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
        until(lambda: self.now(handle) in over, f"{handle} is over")
        return self.state(handle)

    def again(self, handle: str, times: int, then: Callable[[], None] | None = None) -> None:
        """Wait until the job is back in the queue, do `then`, and have it start soon."""

        def queued() -> bool:
            shown = self.ask("scontrol", "show", "job", "--oneliner", number(handle))
            return "JobState=PENDING" in shown and f"Restarts={times} " in shown

        until(queued, f"{handle} is queued for start {times + 1}")
        if then:
            then()
        until(lambda: self.cluster.states() == ["idle"] * len(NODES), "idle nodes")
        # Slurm would have it wait for two minutes. It need not, but for a second or two: a node
        # refuses what is dated the second in which the last start ended (credential revoked).
        threading.Event().wait(3)
        self.ask("scontrol", "update", f"JobId={number(handle)}", "StartTime=now")

    def log(self, handle: str) -> str:
        """Everything that the job wrote, its script's own lines too."""
        logs = (self.folder / "slurm-jobs").glob(f"slurm-{number(handle)}[.-]*")
        return "\n".join(path.read_text(encoding="utf-8") for path in sorted(logs))


def number(handle: str) -> str:
    """Slurm's number of a job."""
    return handle.rpartition("/")[2]


@pytest.fixture(scope="session")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """A cluster that is up."""
    if lacking := missing():
        reason = f"not installed: {', '.join(lacking)} (Debian: slurm-wlm, munge, iproute2)"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("login")
    prepare_synthetic(folder / "data", rows=8_000, seed=3)
    with cluster(tmp_path_factory.mktemp("slurm")) as slurm:
        env = {**slurm.env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        yield Login(folder, env, slurm)
