"""Ranks of a short job: what comes back, and what a failure of one does."""

from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist

from launchers.local.local_ranks import RankFailed, run_here
from pipeline.io.errors import UserError
from pipeline.ranks.world import World


def summed(world: World, start: int) -> tuple[int, int, int]:
    total = torch.tensor(start + world.rank)
    dist.all_reduce(total)
    return int(total), world.size, world.local_size


def refuse(world: World) -> None:
    if world.rank == 1:
        raise UserError("plan.json: not today; come again")
    dist.barrier()


def die(world: World) -> None:
    if world.rank == 1:
        os._exit(7)
    dist.barrier()


def fail(world: World) -> None:
    raise ZeroDivisionError(f"on {world.rank}")


def test_ranks_meet_and_the_first_answers() -> None:
    assert run_here(summed, 3, 10, local_size=1) == (33, 3, 1)


def test_a_users_mistake_on_any_rank_is_the_users() -> None:
    with pytest.raises(UserError, match=r"plan\.json: not today; come again"):
        run_here(refuse, 2)


@pytest.mark.parametrize(
    ("fn", "words"), [(die, "rank 1 died: exit code 7"), (fail, "ZeroDivisionError: on ")]
)
def test_a_failed_rank_fails_all(fn: object, words: str) -> None:
    with pytest.raises(RankFailed, match=words):
        run_here(fn, 2)  # type: ignore[arg-type]
