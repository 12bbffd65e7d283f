"""Measures time spent waiting for other ranks in forward and backward, to exclude it."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from pipeline.ranks.device import Instant

_waits: list[tuple[Instant, Instant]] = []


def take_waits() -> list[tuple[Instant, Instant]]:
    """Begin and end of every `all_reduce` since the last call, in this process."""
    found = list(_waits)
    _waits.clear()
    return found


def all_reduce(x: Tensor) -> None:
    """Sum over all ranks in place, and note the time."""
    began = Instant(x.device)
    dist.all_reduce(x)
    _waits.append((began, Instant(x.device)))
