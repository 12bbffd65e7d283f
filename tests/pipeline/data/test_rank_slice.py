from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.rank_slice import rank_slices


@given(ranks=st.integers(1, 12), planned=st.integers(1, 12), data=st.data())
def test_ranks_take_all_rows_of_a_step_once_in_order_and_equally_many(
    ranks: int, planned: int, data: st.DataObject
) -> None:
    rows = data.draw(st.integers(1, 6)) * ranks
    taken = [
        [(old, row) for old, start, stop in rank_slices(rank, ranks, planned, rows)
         for row in range(start, stop)]
        for rank in range(ranks)
    ]  # fmt: skip
    assert {len(of_rank) for of_rank in taken} == {rows * planned // ranks}
    everything = [(old, row) for old in range(planned) for row in range(rows)]
    assert [row for of_rank in taken for row in of_rank] == everything


@given(ranks=st.integers(1, 12), rows=st.integers(1, 9))
def test_with_the_planned_ranks_each_takes_its_rows(ranks: int, rows: int) -> None:
    assert [rank_slices(rank, ranks, ranks, rows) for rank in range(ranks)] == [
        [(rank, 0, rows)] for rank in range(ranks)
    ]
