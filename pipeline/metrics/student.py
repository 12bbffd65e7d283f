"""Student's t distribution with any number of degrees of freedom.

Its tails are a regularized incomplete beta function, here by the continued fraction of DLMF
8.17.22.
"""

from __future__ import annotations

import math

_TERMS = 500
_PRECISION = 1e-13


def two_sided_p(t: float, freedom: float) -> float:
    """Return the probability of a value farther from 0 than `t`."""
    x = freedom / (freedom + t * t)
    return _incomplete_beta(x, freedom / 2, 0.5)


def quantile(share: float, freedom: float) -> float:
    """Return the value below which `share` lies, for shares from .5 to 1."""
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > 2 * (1 - share):
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if two_sided_p(middle, freedom) > 2 * (1 - share):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    if x <= 0 or x >= 1:
        return min(1.0, max(0.0, x))
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a
    return front * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction from the front (Lentz)."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
