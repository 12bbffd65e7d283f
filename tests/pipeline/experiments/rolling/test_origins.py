"""Origins move over the days with rows, gaps or not."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.experiments.rolling.origins import find_origins
from pipeline.io.errors import UserError

START = date(2022, 4, 25)


@given(
    steps=st.lists(st.integers(1, 3), min_size=3, max_size=12),
    least=st.integers(1, 12),
    last=st.none() | st.integers(1, 12),
)
def test_every_origin_has_its_days_in_order(steps: list[int], least: int, last: int | None) -> None:
    days = [START + timedelta(days=sum(steps[:end])) for end in range(len(steps))]
    possible = len(days) - 1 - least
    if possible < 1 or (last or 0) > possible:
        with pytest.raises(UserError):
            find_origins(days, least, last)
        return
    found = find_origins(days, least, last)
    assert len(found) == (last or possible)
    assert found[-1].test == days[-1]
    for origin in found:
        place = days.index(origin.train_to)
        assert place + 1 >= least
        assert [origin.val, origin.test] == days[place + 1 : place + 3]
    tests = [origin.test for origin in found]
    assert tests == sorted(set(tests))


def test_too_few_days_are_said() -> None:
    with pytest.raises(UserError, match="at least 3"):
        find_origins([START], 1, None)
