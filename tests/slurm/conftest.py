"""The cluster, the data, and `homerec` as a person at the cluster's login node would call it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.data.synthetic import prepare_synthetic
from tests.slurm import cluster

ROOT = Path(__file__).resolve().parents[2]
_REQUIRED = "HOMEREC_REQUIRE_SLURM"  # set where a skip would go unseen


@dataclass(frozen=True)
class Login:
    """A folder on the cluster, with data in it, and the tools."""

    folder: Path
    env: dict[str, str]

    def homerec(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`homerec WORDS`, run to its end in this folder."""
        command = [sys.executable, "-P", "-m", "launchers.cli", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
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
        return cluster.ask(self.env, *command)

    def state(self, handle: str) -> str:
        """The rest of the line that `homerec status` prints."""
        done = self.homerec("status", handle)
        assert done.returncode == 0, done.stderr
        return done.stdout.removeprefix(f"{handle}: ").strip()

    def ended(self, handle: str, within: float = 120) -> str:
        """The state once the job is over."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        cluster.until(
            lambda: self.state(handle).startswith(over), f"{handle} is over", within=within
        )
        return self.state(handle)

    def log(self, handle: str) -> str:
        """Everything that the job wrote, its script's own lines too."""
        number = handle.rpartition("/")[2]
        logs = (self.folder / "slurm-jobs").glob(f"slurm-{number}[.-]*")
        return "\n".join(path.read_text() for path in sorted(logs))


@pytest.fixture(scope="session")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """A cluster that is up."""
    if lacking := cluster.missing():
        reason = f"not installed: {', '.join(lacking)} (Debian: slurm-wlm, munge)"
        if os.environ.get(_REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("login")
    prepare_synthetic(folder / "data", rows=8_000, seed=3)
    with cluster.cluster(tmp_path_factory.mktemp("slurm")) as env:
        yield Login(folder, {**env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
