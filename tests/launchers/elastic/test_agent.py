"""A machine's agent ends as the rank that failed first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from launchers.elastic.agent import exits_of
from pipeline.io.exit_codes import ExitCode
from pipeline.io.rank_exit import RankExit, write_exit

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
        ([-9, 1], -9),
        ([1, 2], 2),
        ([75, 1], 1),
        ([-15, 75], 75),
        ([143, 143], 143),
        ([-15, 143], 143),
    ],
)
def test_the_cause_is_first_and_a_rank_that_was_stopped_last(codes: list[int], first: int) -> None:
    assert exits_of({r: failure(r, code, r) for r, code in enumerate(codes)})[0].code == first


@pytest.mark.parametrize(("stopped_at", "first"), [(5.2, 143), (5.4, 75)])
def test_of_a_stop_and_a_loss_the_earlier_is_the_cause(
    stopped_at: float, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that stops is lost to its peers; one that is lost has torchrun stop the others."""
    ends = {}
    for rank, code, at in ((0, 75, 5.3), (1, 143, stopped_at)):
        path = tmp_path / f"error{rank}.json"
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))
        write_exit(RankExit(code=code, message="x", rank=rank, time=at))
        ends[rank] = ProcessFailure(rank, rank, code, str(path))
    assert exits_of(ends)[0].code == first


def test_what_a_rank_left_is_taken_with_the_code_that_torchrun_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    write_exit(RankExit(code=75, message="rank 1 is gone", rank=4, time=0.5))
    left = ProcessFailure(4, 9, -11, str(tmp_path / "error.json"))
    killed = failure(5, -9, 0)
    first, second = exits_of({4: left, 5: killed})
    assert (first.rank, first.message) == (5, "was killed by SIGKILL")
    assert (second.rank, second.code, second.message) == (4, -11, "rank 1 is gone")


def test_a_failed_rendezvous_is_one_line(tmp_path: Path) -> None:
    nowhere = ["--rdzv_backend", "homerec", "--rdzv_endpoint", "localhost:1"]
    nowhere += ["--rdzv_conf", "is_host=0,read_timeout=1", "--nnodes", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "launchers.elastic.agent", *nowhere, "-m", "this"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "TORCH_CPP_LOG_LEVEL": "ERROR"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == ExitCode.RANK_LOST, done.stderr
    last = done.stderr.rstrip().rpartition("\n")[2]
    assert last.startswith("homerec: lost: rendezvous failed: ")
    assert "localhost" in last
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []  # nor a folder of logs
