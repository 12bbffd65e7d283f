"""The short form of `python -m benchmarks.never_worse`."""

from __future__ import annotations

import pytest

from benchmarks.never_worse import compared, is_worse


@pytest.mark.parametrize("seed", [0])
def test_random_lists_are_planned_no_worse_than_by_torchrec(seed: int) -> None:
    row = compared(seed, 60, fewest=8, most=20)
    assert row["stock"] is not None
    assert not is_worse(row)
    assert row["bound"] <= row["ours"]
