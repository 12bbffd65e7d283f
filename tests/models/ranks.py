"""Ranks as threads of one process, enough to average batch statistics over."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from models.layers.norm import BatchMean

Result = TypeVar("Result")


class Ranks:
    """Runs a function once per rank, all at once; `batch_mean(rank)` averages over them."""

    def __init__(self, world_size: int) -> None:
        self.calls = 0
        self._slots: list[Tensor] = [torch.empty(0)] * world_size
        self._barrier = threading.Barrier(world_size, timeout=600)

    def batch_mean(self, rank: int) -> BatchMean:
        def mean(tensor: Tensor) -> Tensor:
            return _Mean.apply(tensor, self, rank)  # type: ignore[no-untyped-call]

        return mean

    def exchange(self, rank: int, tensor: Tensor) -> Tensor:
        self._slots[rank] = tensor
        if self._barrier.wait() == 0:
            self.calls += 1
        mean = torch.stack(self._slots).mean(0)
        self._barrier.wait()
        return mean

    def run(self, of_rank: Callable[[int], Result]) -> Sequence[Result]:
        def guarded(rank: int) -> Result:
            try:
                return of_rank(rank)
            except BaseException:
                self._barrier.abort()  # or the other ranks would wait for this one
                raise

        with ThreadPoolExecutor(len(self._slots)) as pool:
            return list(pool.map(guarded, range(len(self._slots))))


class _Mean(torch.autograd.Function):
    """A mean over ranks is its own adjoint for losses that are summed over ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks, rank: int) -> Tensor:
        ctx.ranks, ctx.rank = ranks, rank
        return ranks.exchange(rank, tensor.detach())

    @staticmethod
    def backward(ctx: Any, dmean: Tensor) -> tuple[Tensor, None, None]:
        return ctx.ranks.exchange(ctx.rank, dmean), None, None
