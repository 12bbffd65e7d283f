"""The exit code of a machine's agent is that of the rank that failed first."""

from __future__ import annotations

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from pipeline.agent import STOPPED, first_code


def failure(rank: int, code: int, second: int) -> ProcessFailure:
    """As torchrun notes it where a rank left no error file."""
    made = ProcessFailure(local_rank=rank, pid=rank, exitcode=code, error_file="none")
    made.timestamp = second
    return made


@pytest.mark.parametrize(
    ("codes", "first"),
    [([2, 1], 2), ([-9, 1], 137), ([-15, 75], 75), ([STOPPED, STOPPED], STOPPED)],
)
def test_first_to_fail_counts_and_one_that_was_stopped_last(codes: list[int], first: int) -> None:
    assert first_code({r: failure(r, code, r) for r, code in enumerate(codes)}) == first
