"""Compares each window of endless data with the ones before it, before it is trained."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.config.window_guard import WindowGuardConfig
from pipeline.metrics.drift import FeatureCounts, population_stability

_DEVIATIONS = 4.0
_MOVED = 3
"""Features that are named."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A value that left its band."""

    metric: str
    """ne, calibration or unknown_rate."""
    of: str
    """Task, or feature for unknown_rate."""
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.metric} of {self.of} {self.value:.4g}, band {self.low:.4g} to {self.high:.4g}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a window."""

    breaches: tuple[Breach, ...]
    moved: tuple[tuple[str, float], ...]
    """Features with the highest PSI against the windows before, highest first."""

    def __str__(self) -> str:
        if not self.breaches:
            return "within its bands"
        moved = ", ".join(f"{name} {psi:.2f}" for name, psi in self.moved)
        return "; ".join(map(str, self.breaches)) + (f"; PSI {moved}" if moved else "")


class WindowGuard:
    """Keeps the values of accepted windows, from which bands follow.

    Every rank must give the same values; the guard itself does not communicate.
    """

    def __init__(self, config: WindowGuardConfig) -> None:
        self._config = config
        self._history: dict[str, list[float]] = {}
        self._names: list[str] = []
        self._bins_FK: Tensor | None = None

    def check(
        self, results: Mapping[str, Mapping[str, Any]], counts: FeatureCounts | None = None
    ) -> Verdict:
        """Return which values left their bands. A window within all bands counts from now on.

        Args:
            results: of each task, its 'ne', 'calibration' and 'positives'; None if undefined.
            counts: of the window's features over all ranks.
        """
        values = _values(results, {} if counts is None else counts.unknown_rates())
        breaches = []
        for (metric, of), value in values.items():
            history = self._history.get(f"{metric} {of}", [])
            if len(history) >= self._config.warmup:
                low, high = self._band(metric, history, results.get(of, {}).get("positives"))
                if not low <= value <= high:
                    breaches.append(Breach(metric, of, value, low, high))
        verdict = Verdict(tuple(breaches), self._moved(counts))
        if not breaches:
            self._accept(values, counts)
        return verdict

    def _band(
        self, metric: str, history: Sequence[float], positives: float | None
    ) -> tuple[float, float]:
        mean, noise = statistics.mean(history), _DEVIATIONS * statistics.stdev(history)
        config = self._config
        if metric == "ne":
            return 0.0, mean + max(config.ne_rise * mean, noise)
        if metric == "unknown_rate":
            return 0.0, mean + max(config.unknown_rise, noise)
        # The count of positives is about Poisson: its logarithm has the error 1 / sqrt(count).
        error = _DEVIATIONS / math.sqrt(max(positives or 1.0, 1.0))
        factor = max(config.calibration, math.exp(error))
        return mean / factor, mean * factor

    def _moved(self, counts: FeatureCounts | None) -> tuple[tuple[str, float], ...]:
        if counts is None or self._bins_FK is None or counts.names != self._names:
            return ()
        psi = population_stability(self._bins_FK, counts.bins_FK.cpu()).tolist()
        highest = sorted(zip(counts.names, psi, strict=True), key=lambda one: -one[1])
        return tuple(highest[:_MOVED])

    def _accept(
        self, values: Mapping[tuple[str, str], float], counts: FeatureCounts | None
    ) -> None:
        for (metric, of), value in values.items():
            history = self._history.setdefault(f"{metric} {of}", [])
            history.append(value)
            del history[: -self._config.windows]
        if counts is None:
            return
        if self._bins_FK is None or counts.names != self._names:
            self._names, self._bins_FK = list(counts.names), torch.zeros_like(counts.bins_FK.cpu())
        # Whole numbers, so that a resumed run has the same; weights halve in `windows` windows.
        keep = self._config.windows
        self._bins_FK = self._bins_FK * keep // (keep + 1) + counts.bins_FK.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "history": {name: list(values) for name, values in self._history.items()},
            "names": list(self._names),
            "bins": None if self._bins_FK is None else self._bins_FK.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `state_dict`."""
        self._history = {name: list(values) for name, values in state["history"].items()}
        self._names = list(state["names"])
        bins = state["bins"]
        self._bins_FK = None if bins is None else torch.tensor(bins, dtype=torch.int64)


def _values(
    results: Mapping[str, Mapping[str, Any]], unknown: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    found = {
        (metric, task): float(of_task[metric])
        for task, of_task in results.items()
        for metric in ("ne", "calibration")
        if of_task.get(metric) is not None
    }
    return found | {("unknown_rate", name): rate for name, rate in unknown.items()}
