"""Exact mean and standard deviation of float32 numbers, whatever their order.

A float is a whole number of 24 bits times a power of two. The whole numbers, and parts of their
squares, are summed by exponent, which float64 and int64 do without rounding.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_LOWEST = -149
_EXPONENTS = 280
_CHUNK = 1 << 26
_HALF = 1 << 12


class Moments:
    """Count, sum and sum of squares. Up to 2^38 numbers."""

    def __init__(self) -> None:
        self.count = 0
        self._sums = np.zeros((4, _EXPONENTS), dtype=np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add finite numbers [n]."""
        assert values.dtype == np.float32
        for start in range(0, len(values), _CHUNK):
            fraction, exponent = np.frexp(values[start : start + _CHUNK])
            place = exponent - _LOWEST
            whole = (fraction * np.float32(1 << 24)).astype(np.float64)
            size = np.abs(whole)
            high = np.floor(size / _HALF)
            low = size - high * _HALF
            for row, part in enumerate((whole, high * high, high * low, low * low)):
                found = np.bincount(place, weights=part, minlength=_EXPONENTS)
                self._sums[row] += found.astype(np.int64)
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
            for i in range(_EXPONENTS)
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
