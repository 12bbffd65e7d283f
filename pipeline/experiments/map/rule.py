"""A rule over dials: a small regression tree of 'HoME minus best rival', in words.

Does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev

from pipeline.experiments.map.dials import NAMES
from pipeline.experiments.paired import ERRORS

_DEPTH = 2
_LEAST_CELLS = 4
_LEAST_SHARE = 0.1
"""A region has at least so many cells, and this share of all."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured cell: its dials, and the difference there, over seeds and by seed."""

    dials: Mapping[str, float]
    difference: float
    by_seed: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Condition:
    """`name` at least `low` (`is_high`), or at most `high`: measured values on both sides."""

    name: str
    low: float
    high: float
    is_high: bool

    def holds(self, dials: Mapping[str, float]) -> bool:
        return (dials[self.name] > (self.low + self.high) / 2) == self.is_high

    @property
    def text(self) -> str:
        value = self.high if self.is_high else self.low
        return f"{self.name} {'from' if self.is_high else 'up to'} {value:,g}"


@dataclass(frozen=True, slots=True)
class Region:
    """A leaf of the tree. `error`: standard error over seeds of the mean over its cells."""

    conditions: tuple[Condition, ...]
    num_cells: int
    mean: float
    error: float | None

    def holds(self, dials: Mapping[str, float]) -> bool:
        return all(condition.holds(dials) for condition in self.conditions)

    @property
    def conclusion(self) -> str:
        if self.error is None or abs(self.mean) <= ERRORS * self.error:
            return "inconclusive"
        return "better" if self.mean < 0 else "worse"

    @property
    def text(self) -> str:
        return " and ".join(condition.text for condition in self.conditions) or "everywhere"


def fit_rule(samples: Sequence[Sample]) -> list[Region]:
    """Return the regions of the rule, which cover all dials; none without samples."""
    return list(_split(samples, (), max(_LEAST_CELLS, round(_LEAST_SHARE * len(samples)))))


def predict(regions: Sequence[Region], dials: Mapping[str, float]) -> float:
    """Return the mean of the region that the dials are in."""
    return next(region.mean for region in regions if region.holds(dials))


def mean_errors(regions: Sequence[Region], samples: Sequence[Sample]) -> tuple[float, float]:
    """Return the mean absolute error on samples: of the rule, and of 'no difference'."""
    missed = [abs(predict(regions, one.dials) - one.difference) for one in samples]
    return fmean(missed), fmean(abs(one.difference) for one in samples)


def _split(
    samples: Sequence[Sample], conditions: tuple[Condition, ...], least: int
) -> Iterator[Region]:
    if not samples:
        return
    found = _best(samples, least) if len(conditions) < _DEPTH else None
    if found is None:
        values = [one.difference for one in samples]
        yield Region(_shortest(conditions), len(values), fmean(values), _error(samples))
        return
    for is_high in (False, True):
        side = Condition(found.name, found.low, found.high, is_high)
        yield from _split(
            [one for one in samples if side.holds(one.dials)], (*conditions, side), least
        )


def _error(samples: Sequence[Sample]) -> float | None:
    """Return the standard error of the mean over cells, from the seeds that all cells have.

    It says what other seeds would show in these cells, not what other cells would.
    """
    seeds = set.intersection(*(set(one.by_seed) for one in samples))
    means = [fmean(one.by_seed[seed] for one in samples) for seed in sorted(seeds)]
    return stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None


def _best(samples: Sequence[Sample], least: int) -> Condition | None:
    """Return the split with the smallest sum of squares; None if none makes it smaller."""
    best, best_squares = None, _squares(samples) * (1 - 1e-9)
    for name in NAMES:
        values = sorted({one.dials[name] for one in samples})
        for low, high in pairwise(values):
            condition = Condition(name, low, high, True)
            sides: tuple[list[Sample], list[Sample]] = ([], [])
            for one in samples:
                sides[condition.holds(one.dials)].append(one)
            if min(map(len, sides)) >= least and sum(map(_squares, sides)) < best_squares:
                best, best_squares = condition, sum(map(_squares, sides))
    return best


def _squares(samples: Sequence[Sample]) -> float:
    mean = fmean(one.difference for one in samples)
    return sum((one.difference - mean) ** 2 for one in samples)


def _shortest(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Leave out a condition that a later one on the same side implies."""
    last = {(one.name, one.is_high): one for one in conditions}
    return tuple(last.values())
