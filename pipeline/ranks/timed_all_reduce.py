"""Time spent waiting for other ranks inside forward and backward, so that it can be left out."""

from __future__ import annotations

import time

import torch.distributed as dist
from torch import Tensor

_seconds = 0.0


def all_reduce_seconds() -> float:
    """Seconds in `all_reduce` so far, in this process."""
    return _seconds


def all_reduce(x: Tensor) -> None:
    """torch.distributed's sum over all ranks, in place, its time added up."""
    global _seconds
    began = time.perf_counter()
    dist.all_reduce(x)
    _seconds += time.perf_counter() - began
