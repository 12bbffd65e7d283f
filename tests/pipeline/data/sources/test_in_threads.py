"""Results in order, and the error of the first item that fails."""

from __future__ import annotations

import pytest

from pipeline.data.sources.in_threads import in_threads


def test_results_are_in_order() -> None:
    assert in_threads(lambda n: n * n, range(50)) == [n * n for n in range(50)]
    assert in_threads(abs, []) == []


def test_the_first_error_counts() -> None:
    def fail(number: int) -> int:
        if number >= 3:
            raise ValueError(number)
        return number

    with pytest.raises(ValueError, match=r"^3$"):
        in_threads(fail, range(50))
