"""Learning rates over time: one factor for the dense and the sparse optimizer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from pipeline.config.sections import ScheduleConfig
from pipeline.training.batch_size import BatchSizes

# A step with train.batch_size rows, on any number of ranks.
_ALL = BatchSizes(per_rank=0, share=1.0, rate=1.0)


class HasGroups(Protocol):
    """The interface of an optimizer with a learning rate."""

    @property
    def param_groups(self) -> Collection[Mapping[str, Any]]: ...


def factor(config: ScheduleConfig, step: float, total_steps: int) -> float:
    """Return the fraction of the peak rate for step `step` (from 0) of `total_steps`."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.decay == "constant":
        return 1.0
    if config.decay == "inverse_sqrt":
        return max(config.final, math.sqrt((config.warmup_steps + 1) / (step + 1)))
    span = max(1, total_steps - 1 - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    shape = 1 - progress if config.decay == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.final + (1 - config.final) * shape


class Schedule:
    """Sets rates by the position of the run, in steps of train.batch_size rows.

    With a constant global batch, the position is the number of steps, so a resumed run needs no
    state; if the batch scales with the ranks, checkpoints contain the position.

    Attributes:
        at: position of the run.
        last: last factor on both rates.
    """

    def __init__(
        self,
        config: ScheduleConfig,
        optimizer: HasGroups,
        steps: int,
        *,
        rows: BatchSizes = _ALL,
        at: float = 0.0,
    ) -> None:
        """`steps` remaining steps with `rows` each."""
        self._config = config
        self._rows = rows
        self._optimizer = optimizer
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._total = round(at + steps * rows.share)
        self.at = at
        self.last = 1.0

    def set(self) -> float:
        """Set the rates of the next step; returns the factor. A fused optimizer reads its rate in
        step() and zero_grad(), so call this before the pipeline's progress()."""
        scale = self.last = self._rows.rate * factor(self._config, self.at, self._total)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * scale  # type: ignore[index]
        return scale

    def move(self) -> None:
        """Advance after the step."""
        self.at += self._rows.share
