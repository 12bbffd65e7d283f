from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.moments import Moments

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def moments(values: list[float]) -> Moments:
    found = Moments()
    found.add(np.array(values, dtype=np.float32))
    return found


@given(values=st.lists(FLOATS, min_size=1), cut=st.integers(0, 100))
def test_sums_are_exact_and_can_be_merged(values: list[float], cut: int) -> None:
    exact = [Fraction(value) for value in values]
    mean = sum(exact, start=Fraction(0)) / len(exact)
    variance = sum(((one - mean) ** 2 for one in exact), start=Fraction(0)) / len(exact)
    whole, parts = moments(values), moments(values[cut:])
    parts.merge(moments(values[:cut]))
    assert whole.mean == parts.mean == float(mean)
    assert whole.total == float(sum(exact))
    assert whole.std == parts.std
    if variance > Fraction(1e-6) * (1 + abs(mean)) ** 2:
        assert whole.std == math.sqrt(float(variance))


def test_constants_and_nothing_have_deviation_1() -> None:
    assert (moments([]).mean, moments([]).std, moments([]).total) == (0.0, 1.0, 0.0)
    assert (moments([3.0] * 5).mean, moments([3.0] * 5).std) == (3.0, 1.0)
