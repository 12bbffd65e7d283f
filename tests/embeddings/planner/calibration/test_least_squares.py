"""The fit finds the constants that made the times, and never a negative one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.planner.calibration.least_squares import fit


@given(
    constants=st.lists(
        st.one_of(st.just(0.0), st.floats(1e-9, 1e3)), min_size=1, max_size=5
    ).filter(any),
    seed=st.integers(0, 1000),
)
def test_exact_times_give_their_constants(constants: list[float], seed: int) -> None:
    draw = np.random.default_rng(seed)
    # Bytes and counts: columns of very different sizes.
    columns = draw.uniform(0.1, 1, (40, len(constants))) * 10.0 ** draw.integers(
        -3, 9, len(constants)
    )
    measured = columns @ np.array(constants)
    found, error = fit(columns, measured)
    assert error < 1e-6
    assert (found >= 0).all()
    np.testing.assert_allclose(columns @ found, measured, rtol=1e-6)


def test_noise_gives_nearly_the_constants() -> None:
    draw = np.random.default_rng(1)
    columns = draw.uniform(0.1, 1, (200, 3))
    measured = columns @ np.array([2.0, 0.5, 1.0]) * draw.uniform(0.9, 1.1, 200)
    found, error = fit(columns, measured)
    np.testing.assert_allclose(found, [2.0, 0.5, 1.0], rtol=0.1)
    assert error == pytest.approx(0.2 / 12**0.5, rel=0.15)  # of a uniform distribution


def test_no_constant_is_negative() -> None:
    """Without the bound the best fit would be (2, -1)."""
    columns = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.5]])
    found, _ = fit(columns, columns @ np.array([2.0, -1.0]))
    assert found[1] == 0
    assert found[0] > 0


def test_an_empty_column_gets_nothing() -> None:
    columns = np.array([[1.0, 0.0], [2.0, 0.0]])
    found, error = fit(columns, np.array([3.0, 6.0]))
    assert found.tolist() == pytest.approx([3.0, 0.0])
    assert error < 1e-9
