"""A rank that is lost is named by the others, whichever way it was lost, and nobody hangs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("freeze", r"does not answer \(its last word was from step \d\)"),
        ("dawdle", "is alive, at step 7, but did not come within 3 s"),
    ],
)
def test_the_lost_rank_is_named(what: str, said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.agent", "--nproc_per_node", "2"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    command += ["--local_addr", "localhost", "--shutdown_timeout", "8"]
    # An agent stops its ranks once one failed: each word must be out by then.
    command += ["--tee", "3", "--log_dir", str(tmp_path), "-m", "tests.pipeline.lost_job", what]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 75, done.stderr
    assert re.search(rf"lost: step 7: rank 1 on \S+ {said}", done.stderr), done.stderr
