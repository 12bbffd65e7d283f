"""Measures time spent waiting for other ranks in forward and backward, to exclude it."""

from __future__ import annotations

import time

import torch.distributed as dist
from torch import Tensor

_seconds = 0.0


def all_reduce_seconds() -> float:
    """Seconds in `all_reduce` so far, in this process."""
    return _seconds


def all_reduce(x: Tensor) -> None:
    """Sum over all ranks in place, and accumulate the time."""
    global _seconds
    began = time.perf_counter()
    dist.all_reduce(x)
    _seconds += time.perf_counter() - began
