"""The exit code of a machine's agent is that of the rank that failed first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from launchers.elastic.agent import first_code, last_words
from pipeline.io.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[3]


def failure(rank: int, code: int, second: int) -> ProcessFailure:
    """As torchrun notes it where a rank left no error file."""
    made = ProcessFailure(local_rank=rank, pid=rank, exitcode=code, error_file="none")
    made.timestamp = second
    return made


@pytest.mark.parametrize(
    ("codes", "first"),
    [
        ([2, 1], 2),
        ([-9, 1], 137),
        ([-15, 75], 75),
        ([143, 143], 143),
    ],
)
def test_first_to_fail_counts_and_one_that_was_stopped_last(codes: list[int], first: int) -> None:
    assert first_code({r: failure(r, code, r) for r, code in enumerate(codes)}) == first


def test_the_reasons_that_ranks_wrote_are_found_each_once(tmp_path: Path) -> None:
    for rank, text in enumerate(
        [
            "[rank0]:homerec: lost: step 3: rank 2 on b\nnoise homerec: error: no\n",
            "homerec: lost: step 3: rank 2 on b\n",
            "Traceback\n[rank2]: homerec: error: data.path: no such folder\n",
        ]
    ):
        folder = tmp_path / "none_x" / "attempt_0" / str(rank)
        folder.mkdir(parents=True)
        (folder / "stderr.log").write_text(text)
        (folder / "stdout.log").write_text("homerec: lost: not here\n")
    assert last_words(tmp_path) == [
        "homerec: lost: step 3: rank 2 on b",
        "homerec: error: data.path: no such folder",
    ]


def test_machines_that_do_not_meet_are_one_line(tmp_path: Path) -> None:
    nowhere = ["--rdzv_backend", "homerec", "--rdzv_endpoint", "localhost:1"]
    nowhere += ["--rdzv_conf", "is_host=0,read_timeout=1", "--nnodes", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "launchers.elastic.agent", *nowhere, "-m", "this"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "TORCH_CPP_LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.RANK_LOST, done.stderr
    last = done.stderr.rstrip().rpartition("\n")[2]
    assert last.startswith("homerec: lost: the machines did not meet: ")
    assert "localhost" in last
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []  # nor a folder of logs
