"""Shares errors, values and flags between ranks over the control group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

from pipeline.ranks.world import World

T = TypeVar("T")


def gather_or_raise(world: World, build: Callable[[], T]) -> T:
    """Return this rank's `build()`; if any rank's fails, raise the lowest such rank's error on all.

    Each rank checks its own input; without this, other ranks would wait for a failed one.
    """
    built: list[T] = []
    failure: Exception | None = None
    try:
        built.append(build())
    except Exception as error:  # noqa: BLE001 (raised again below, on every rank)
        failure = error
    failures: list[Exception | None] = [None] * world.size
    dist.all_gather_object(failures, failure, group=world.control)
    for found in failures:
        if found is not None:
            raise found
    return built[0]


def run_on_rank0(world: World, action: Callable[[], object]) -> None:
    """Run `action()` on rank 0 while the others wait; raise its error on every rank."""
    box: list[Exception | None] = [None]
    if world.is_first:
        try:
            action()
        except Exception as error:  # noqa: BLE001 (raised again below, on every rank)
            box[0] = error
    dist.broadcast_object_list(box, src=0, group=world.control)
    if box[0] is not None:
        raise box[0]


def broadcast_from_rank0(world: World, value: T) -> T:
    """Return rank 0's `value` on every rank, for example because file systems show files late."""
    box = [value]
    dist.broadcast_object_list(box, src=0, group=world.control)
    return box[0]


class Flags:
    """Exchanges small values between all ranks, one step late and without waiting.

    `post` starts the exchange after a step, `read` ends it before the next one. A rank that wants
    to stop (a signal) or must stop (a non-finite loss) stops all ranks at the same step.
    """

    def __init__(self, world: World, count: int) -> None:
        self._group = world.control
        self._values = torch.zeros(count, dtype=torch.int64)
        self._work: dist.Work | None = None

    def post(self, values: list[int]) -> None:
        assert self._work is None
        self._values = torch.tensor(values, dtype=torch.int64)
        self._work = dist.all_reduce(
            self._values, op=dist.ReduceOp.MAX, group=self._group, async_op=True
        )

    def read(self) -> list[int]:
        """Return the maximum of each flag over ranks, as last posted (initially zeros)."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        found: list[int] = self._values.tolist()  # on the host
        return found
