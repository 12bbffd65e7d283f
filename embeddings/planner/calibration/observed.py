"""Measured plans, and how well the fitted constants predict them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from embeddings.planner.calibration.least_squares import fit
from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.plans.plan_file import PlanFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """A plan and the milliseconds by rank and part that it took.

    Parts: those of PARTS that have a clock, and all_reduce and optimizer, which bwd_comms includes.
    """

    file: PlanFile
    ms: Sequence[Mapping[str, float]]

    def rank(self, part: str) -> FloatArray:
        """[R]"""
        return np.array([rank[part] for rank in self.ms])


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How well a group of constants fits."""

    name: str
    error: float
    """Root mean square of predicted / measured - 1."""
    count: int
    """Of observations."""
    start_ms: float
    """What a plan of one sharding type takes whatever is in it (see costs.StartCosts)."""


@dataclass(slots=True)
class Fits:
    """Fits, and a record of them."""

    done: list[Fit] = field(default_factory=list)

    def __call__(self, name: str, columns: FloatArray, measured: FloatArray) -> FloatArray:
        """[K] constants of [N, K] columns for [N] measured values, a start aside.

        Ranks without work are left out.
        """
        busy = columns.any(axis=1)
        columns, measured = columns[busy], measured[busy]
        found, error = fit(np.column_stack([columns, np.ones(len(columns))]), measured)
        self.done.append(
            Fit(name=name, error=error, count=len(measured), start_ms=float(found[-1]))
        )
        return found[:-1]

    def start(self, *names: str) -> float:
        """Milliseconds of what the named fits found to be there whatever is in a plan."""
        return sum(fit.start_ms for fit in self.done if fit.name in names)
