"""What is counted of a collective is what the kernel says went over the sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from benchmarks.tcp_counters import bytes_sent
from benchmarks.traffic import Traffic
from pipeline.ranks.world import this_world
from tests.ranks import run_ranks

_RANKS = 3
_N = 300_000  # numbers a rank: gloo's own words are small beside them


def _all_to_all(rank: int) -> None:
    """Rank r gives (d + 1) / 6 of its numbers to rank d."""
    parts = [_N // 6 * (d + 1) for d in range(_RANKS)]
    mine = parts[rank] * _RANKS
    dist.all_to_all_single(torch.empty(mine), torch.ones(sum(parts)), [parts[rank]] * _RANKS, parts)


def _of_backward(rank: int) -> None:
    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            dist.all_to_all_single(torch.empty_like(gradient), gradient.contiguous())
            return gradient

    leaf = torch.ones(_N, requires_grad=True)
    Sum.apply(leaf).sum().backward()  # type: ignore[no-untyped-call]


_COLLECTIVES: dict[str, tuple[str, Callable[[int], Any]]] = {
    "all_to_all": ("embeddings", _all_to_all),
    "all_to_all in backward": ("gradients", _of_backward),
    "all_to_all of ids": (
        "ids",
        lambda rank: dist.all_to_all_single(
            torch.empty(_N, dtype=torch.int32),
            torch.ones(_N, dtype=torch.int32),
            [_N // _RANKS] * _RANKS,
            [_N // _RANKS] * _RANKS,
        ),
    ),
    "all_reduce": ("statistics", lambda rank: dist.all_reduce(torch.ones(_N))),
    "all_gather": (
        "embeddings",
        lambda rank: dist.all_gather_into_tensor(torch.empty(_N * _RANKS), torch.ones(_N)),
    ),
    "all_gather of a list": (
        "other",
        lambda rank: dist.all_gather([torch.empty(_N) for _ in range(_RANKS)], torch.ones(_N)),
    ),
    "broadcast": ("other", lambda rank: dist.broadcast(torch.ones(_N), src=1)),
}


def _counted(rank: int, size: int) -> dict[str, tuple[dict[str, int], int]]:
    world = this_world()
    found = {}
    for name, (_, run) in _COLLECTIVES.items():
        run(rank)  # connections are made at the first use
        dist.barrier()
        before = bytes_sent()
        with Traffic(nn.Identity(), world) as traffic:
            run(rank)
        dist.barrier()
        found[name] = dict(traffic.bytes), bytes_sent() - before
    return found


@pytest.fixture(scope="module")
def by_rank() -> list[dict[str, tuple[dict[str, int], int]]]:
    found: list[dict[str, tuple[dict[str, int], int]]] = run_ranks(_counted, _RANKS)
    return found


@pytest.mark.parametrize("name", _COLLECTIVES)
def test_the_kernel_says_the_same(
    name: str, by_rank: list[dict[str, tuple[dict[str, int], int]]]
) -> None:
    purpose = _COLLECTIVES[name][0]
    counted = sum(rank[name][0].get(purpose, 0) for rank in by_rank)
    assert all(set(rank[name][0]) == {purpose} for rank in by_rank)
    on_wire = sum(rank[name][1] for rank in by_rank)
    assert counted <= on_wire <= 1.01 * counted + 5_000
