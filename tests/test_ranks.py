"""The helper itself: ranks work together, and a failing or hanging rank is shown."""

import os

import pytest
import torch
import torch.distributed as dist

from tests.ranks import RankError, run_ranks


def add_up(rank: int, world_size: int, start: int) -> tuple[int, int, str]:
    total = torch.tensor(start + rank)
    dist.all_reduce(total)
    return rank, int(total), os.environ["WORLD_SIZE"]


def write(rank: int, world_size: int) -> None:
    os.write(1, b"out")
    os.write(2, b"err")


def fail_on_rank_one(rank: int, world_size: int) -> None:
    if rank == 1:
        raise LookupError("no such thing")
    dist.barrier()


def hang_on_rank_zero(rank: int, world_size: int) -> None:
    if rank == 0:
        dist.recv(torch.zeros(1), src=1)
    dist.barrier()


@pytest.mark.parametrize("world_size", [1, 3])
def test_results_come_in_the_order_of_the_ranks(world_size: int) -> None:
    total = sum(10 + rank for rank in range(world_size))
    expected = [(rank, total, str(world_size)) for rank in range(world_size)]
    assert run_ranks(add_up, world_size, 10) == expected


def test_what_ranks_write_goes_where_this_process_writes(
    capfd: pytest.CaptureFixture[str],
) -> None:
    run_ranks(write, 1)
    assert capfd.readouterr() == ("out", "err")


def test_the_failing_rank_is_shown_first() -> None:
    with pytest.raises(RankError, match=r"rank 1:\nTraceback[^$]*LookupError: no such thing"):
        run_ranks(fail_on_rank_one, 2)


def test_a_hang_shows_where_each_rank_stood() -> None:
    with pytest.raises(RankError, match=r"Timeout[^$]*hang_on_rank_zero"):
        run_ranks(hang_on_rank_zero, 2, timeout=3)
