"""The process group of a rank, and its device."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]  # not in __all__

from pipeline.io.errors import RankLost
from pipeline.io.silence import silence_libraries
from pipeline.ranks.allocator import keep_freed_memory
from pipeline.ranks.heartbeat import Pulse, monitored, of_a_peer, open_heartbeat
from pipeline.ranks.timed_all_reduce import all_reduce


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A rank in its process group.

    `control` is a gloo group for small CPU tensors, on every device. Training writes its step to
    `pulse`, which other ranks read if this rank does not answer.
    """

    rank: int
    size: int
    local_size: int
    device: torch.device
    control: dist.ProcessGroup
    pulse: Pulse

    @property
    def is_first(self) -> bool:
        return self.rank == 0


TIMEOUT_S = 600
"""Default of train.timeout, seconds."""


@contextmanager
def open_world(timeout: int = TIMEOUT_S) -> Iterator[World]:
    """Join the ranks that torchrun started, or create a group with a single rank.

    Uses NCCL and one GPU per rank with CUDA (not tested on GPUs yet), otherwise gloo.

    Args:
        timeout: seconds that a collective waits for the other ranks.

    Raises:
        RankLost: another rank did not answer in time, or was lost; the message names it.
    """
    keep_freed_memory()
    silence_libraries()
    arguments: dict[str, Any] = {"timeout": timedelta(seconds=timeout)}
    alone = "RANK" not in os.environ
    if alone:
        arguments |= {"store": HashStore(), "rank": 0, "world_size": 1}
    cuda = torch.cuda.is_available()
    excepthook = sys.excepthook
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", **arguments)
        if alone:  # torch prefixes the lines of each traceback with the rank, once more each time
            sys.excepthook = excepthook
        world = this_world(timeout)
        nonce = _shared_nonce(world)
    except RuntimeError as error:
        if not of_a_peer(error):
            raise
        reason = str(error).strip().splitlines()[0]
        raise RankLost(
            f"not all ranks joined the rendezvous within {timeout} s: {reason}"
        ) from error
    if world.size == 1:
        try:
            yield world
        finally:
            dist.destroy_process_group()
        return
    beat = open_heartbeat(nonce, world.rank, world.size, timeout, world.pulse)
    try:
        with monitored(beat, world.pulse):
            yield world
    except RankLost:
        raise  # destroying the broken groups would wait for the lost rank
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def _shared_nonce(world: World) -> str:
    """Return a value that is unique to this start of the job and the same on every rank."""
    box = [uuid.uuid4().hex]
    dist.broadcast_object_list(box, src=0, group=world.control)
    return box[0]


def this_world(timeout: int = TIMEOUT_S) -> World:
    """Return the World of this rank; the process group must exist."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    return World(
        rank=dist.get_rank(),
        size=dist.get_world_size(),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        device=device,
        control=dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout)),
        pulse=Pulse(),
    )


class _RankMean(torch.autograd.Function):
    """Mean over ranks of tensors with equal shapes; its gradient is the same mean."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        all_reduce(total)
        return total / dist.get_world_size()


def rank_mean(x: Tensor) -> Tensor:
    """Return the differentiable mean of `x` over ranks, for synchronized batch statistics.

    Collective, with the same shape on all ranks. torch's SyncBatchNorm supports only CUDA.
    """
    result: Tensor = _RankMean.apply(x)  # type: ignore[no-untyped-call]
    return result


def share_buffers(module: nn.Module) -> None:
    """Copy rank 0's running statistics to every rank.

    They differ if batch statistics are not synchronized, but an evaluation needs one model.
    """
    for buffer in module.buffers():
        dist.broadcast(buffer, src=0)
