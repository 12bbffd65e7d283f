"""Exact mean and standard deviation of float32 numbers, whatever their order.

A float is a whole number of 24 bits times a power of two. Sorted, numbers of one exponent are next
to each other; their sums, and those of parts of their squares, have no rounding in float64 and
int64.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_LOWEST, _HIGHEST = -125, 128
_EXPONENTS = np.arange(_LOWEST, _HIGHEST + 1)
"""Numbers of exponent k are below 2^k and at least 2^(k-1), but those of the lowest down to 0."""
_LIMITS = np.ldexp(1.0, _EXPONENTS[:-1]).astype(np.float32)
_RUN_LIMITS = np.concatenate([-_LIMITS[::-1], np.zeros(1, np.float32), _LIMITS])
_RUN_PLACES = np.concatenate([_EXPONENTS[::-1], _EXPONENTS]) - _LOWEST
_CHUNK = 1 << 16
_HALF = 1 << 12


class Moments:
    """Count, sum and sum of squares. Up to 2^38 numbers."""

    def __init__(self) -> None:
        self.count = 0
        self._sums = np.zeros((4, len(_EXPONENTS)), dtype=np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add finite numbers [n]."""
        assert values.dtype == np.float32
        for start in range(0, len(values), _CHUNK):
            numbers = np.sort(values[start : start + _CHUNK])
            starts = np.concatenate([[0], np.searchsorted(numbers, _RUN_LIMITS)])
            filled = np.diff(starts, append=len(numbers)) > 0
            starts, places = starts[filled], _RUN_PLACES[filled]
            high = (numbers.view(np.uint32) & np.uint32(-_HALF % (1 << 32))).view(np.float32)
            whole, high = numbers.astype(np.float64), high.astype(np.float64)
            low = whole - high
            unit = 24 - _EXPONENTS[places]
            parts = (
                (whole, unit),
                (high * high, 2 * unit - 24),
                (high * low, 2 * unit - 12),
                (low * low, 2 * unit),
            )
            for sums, (part, shift) in zip(self._sums, parts, strict=True):
                found = np.ldexp(np.add.reduceat(part, starts), shift)
                np.add.at(sums, places, found.astype(np.int64))
        self.count += len(values)

    def merge(self, other: Moments) -> None:
        """Add the numbers of `other`."""
        self.count += other.count
        self._sums += other._sums

    @property
    def total(self) -> float:
        """Sum of the numbers."""
        return float(self._total)

    @property
    def mean(self) -> float:
        """0 without numbers."""
        return float(self._mean) if self.count else 0.0

    @property
    def std(self) -> float:
        """Of the population; 1 for a constant or without numbers."""
        if not self.count:
            return 1.0
        _, high, cross, low = (row.tolist() for row in self._sums)
        squares = sum(
            Fraction(_HALF * _HALF * high[i] + 2 * _HALF * cross[i] + low[i])
            * Fraction(2) ** (2 * (i + _LOWEST - 24))
            for i in range(len(_EXPONENTS))
            if high[i] or cross[i] or low[i]
        )
        variance = float(squares / self.count - self._mean**2)
        scale = max(1.0, abs(self.mean))
        return math.sqrt(variance) if variance > 1e-12 * scale * scale else 1.0

    @property
    def _mean(self) -> Fraction:
        return self._total / self.count

    @property
    def _total(self) -> Fraction:
        parts = (
            Fraction(value) * Fraction(2) ** (i + _LOWEST - 24)
            for i, value in enumerate(self._sums[0].tolist())
            if value
        )
        return sum(parts, start=Fraction(0))
