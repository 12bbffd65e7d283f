"""Measured plans, and the errors of fitted constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from embeddings.planner.calibration.least_squares import fit
from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.plans.plan_file import PlanFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """A plan and its measured milliseconds by rank and part.

    Parts: the measured ones of PARTS, and all_reduce and optimizer, which are part of bwd_comms.
    """

    file: PlanFile
    ms: Sequence[Mapping[str, float]]

    def rank(self, part: str) -> FloatArray:
        """[R]"""
        return np.array([rank[part] for rank in self.ms])


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Quality of the fit of a group of constants."""

    name: str
    error: float
    """Root mean square of predicted / measured - 1."""
    count: int
    """Number of observations."""
    start_ms: float
    """What a plan of one sharding type takes whatever is in it (see costs.StartCosts)."""


@dataclass(slots=True)
class Fits:
    """Runs fits and records them."""

    done: list[Fit] = field(default_factory=list)

    def __call__(self, name: str, columns: FloatArray, measured: FloatArray) -> FloatArray:
        """Fit [K] constants and a fixed cost to [N, K] columns and [N] measured values.

        Ranks without work are ignored.
        """
        busy = columns.any(axis=1)
        columns, measured = columns[busy], measured[busy]
        found, error = fit(np.column_stack([columns, np.ones(len(columns))]), measured)
        self.done.append(
            Fit(name=name, error=error, count=len(measured), start_ms=float(found[-1]))
        )
        return found[:-1]

    def start(self, *names: str) -> float:
        """Return the sum of the fixed milliseconds of the named fits."""
        return sum(fit.start_ms for fit in self.done if fit.name in names)
