"""The stability index: near chance for equal distributions, large for others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.check_table.drift import LARGE, compare, count_ranges, range_limits

_COUNTS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=20)


@given(counts=_COUNTS)
def test_index_against_its_formula(counts: list[tuple[int, int]]) -> None:
    base, other = (np.array(one, dtype=np.float64) for one in zip(*counts, strict=True))
    found = compare(base, other)
    used = [(a + 0.5, b + 0.5) for a, b in counts if a or b]
    if not base.sum() or not other.sum():
        assert found is None
        return
    p = [a / sum(a for a, _ in used) for a, _ in used]
    q = [b / sum(b for _, b in used) for _, b in used]
    wanted = sum((y - x) * math.log(y / x) for x, y in zip(p, q, strict=True))
    assert found is not None
    assert found.psi == pytest.approx(wanted, abs=1e-12)
    assert found.psi >= -1e-12


def test_chance_explains_what_equal_distributions_give() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(12, 5.0))
    draws = [
        [rng.multinomial(n, shares).astype(np.float64) for n in (3000, 400)] for _ in range(99)
    ]
    found = [compare(train, val) for train, val in draws]
    psi = np.mean([one.psi for one in found if one])
    assert found[0] is not None
    assert psi == pytest.approx(found[0].by_chance, rel=0.15)


def test_a_shift_is_large() -> None:
    rng = np.random.default_rng(0)
    train, val = (rng.normal(mean, size=5000).astype(np.float32) for mean in (0, 1))
    limits = range_limits(train)
    counts = count_ranges(train, limits)
    assert counts[:-1].tolist() == [500] * 10
    found = compare(counts, count_ranges(val, limits))
    assert found is not None
    assert found.excess > LARGE


@given(values=st.lists(st.one_of(st.integers(-5, 5), st.just(math.nan)), max_size=60))
def test_ranges_hold_every_value(values: list[float]) -> None:
    numbers = np.array(values, dtype=np.float32)
    known = numbers[~np.isnan(numbers)]
    limits = range_limits(known)
    assert len(limits) < 10
    counts = count_ranges(numbers, limits)
    assert counts.sum() == len(numbers)
    assert counts[-1] == len(numbers) - len(known)
    assert not len(known) or (counts[:-1] > 0).all()
