"""Learning rates over time: one factor for the dense and the sparse optimizer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from pipeline.config import ScheduleConfig


class HasGroups(Protocol):
    """An optimizer, as far as its rate goes."""

    @property
    def param_groups(self) -> Collection[Mapping[str, Any]]: ...


def factor(config: ScheduleConfig, step: int, total_steps: int) -> float:
    """Share of the peak rate for step `step` (from 0) of `total_steps`."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.decay == "constant":
        return 1.0
    span = max(1, total_steps - 1 - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    shape = 1 - progress if config.decay == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.final + (1 - config.final) * shape


class Schedule:
    """Sets rates as a pure function of the step, so a resumed run needs no state of it."""

    def __init__(self, config: ScheduleConfig, optimizer: HasGroups, total_steps: int) -> None:
        self._config = config
        self._optimizer = optimizer
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._total = total_steps
        self.last = 1.0

    def set(self, step: int) -> float:
        """Rates for step `step`; returns the factor. A fused optimizer reads its rate in step()
        and zero_grad(), so this must come before the pipeline's progress()."""
        scale = self.last = factor(self._config, step, self._total)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * scale  # type: ignore[index]
        return scale
