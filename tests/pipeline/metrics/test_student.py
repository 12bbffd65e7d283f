"""Student's t: equal to scipy's."""

from __future__ import annotations

import pytest
from scipy import stats  # type: ignore[import-untyped]

from pipeline.metrics.student import quantile, two_sided_p


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 7.3, 30, 1000, 1e5])
def test_tails_and_quantiles_are_scipys(freedom: float) -> None:
    for t in (0.0, 0.01, 0.7, 1.96, 4.0, 12.0):
        assert two_sided_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-7)
        assert two_sided_p(-t, freedom) == two_sided_p(t, freedom)
    for share in (0.5, 0.8, 0.975, 0.9999):
        found = quantile(share, freedom)
        assert found == pytest.approx(stats.t.ppf(share, freedom), rel=1e-6, abs=1e-9)
