"""Detects ranks that slow the others down, by their computing time."""

from __future__ import annotations

import socket
import statistics
from collections.abc import Callable, Sequence

import torch.distributed as dist

from pipeline.config.sections import FaultsConfig
from pipeline.io.console import plain_console, print_line
from pipeline.ranks.world import World
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput


class Stragglers(Hook):
    """Sums each rank's seconds; reports a slow rank once until it recovers.

    Uses the lower median: with two ranks, the faster one is the reference.
    """

    def __init__(
        self, config: FaultsConfig, world: World, seconds: Callable[[], Sequence[float]]
    ) -> None:
        """`seconds`: time of each rank in one more step."""
        self._seconds = seconds
        self._factor = config.straggler_factor
        self._window = config.straggler_window
        self._world = world
        hosts: list[str] = [""] * world.size
        dist.all_gather_object(hosts, socket.gethostname(), group=world.control)
        self._hosts = hosts
        self._sums = [0.0] * world.size
        self._steps = 0
        self._known: set[int] = set()

    def after_step(self, step: int, output: StepOutput) -> None:
        self.update(step, self._seconds())

    def update(self, step: int, seconds: Sequence[float]) -> list[str]:
        """Return a sentence for each newly slow rank, equal on all ranks; rank 0 prints it."""
        self._sums = [total + one for total, one in zip(self._sums, seconds, strict=True)]
        self._steps += 1
        if self._steps < self._window or not self._factor:
            return []
        means = [total / self._steps for total in self._sums]
        self._sums, self._steps = [0.0] * len(means), 0
        median = statistics.median_low(means)
        slow = {rank for rank, mean in enumerate(means) if mean > self._factor * median > 0}
        lines = [
            f"step {step}: rank {rank} on host {self._hosts[rank]} is slow: "
            f"{means[rank] * 1e3:.1f} ms per step in the tower, median of ranks "
            f"{median * 1e3:.1f} ms"
            for rank in sorted(slow - self._known)
        ]
        self._known = slow
        if self._world.is_first:
            for line in lines:
                print_line(plain_console(stderr=True), line)
        return lines
