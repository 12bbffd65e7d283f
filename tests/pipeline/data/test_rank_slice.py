from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.rank_slice import shares


@given(ranks=st.integers(1, 12), dealt_to=st.integers(1, 12), data=st.data())
def test_ranks_take_all_rows_of_a_step_once_in_order_and_equally_many(
    ranks: int, dealt_to: int, data: st.DataObject
) -> None:
    rows = data.draw(st.integers(1, 6)) * ranks
    taken = [
        [(old, row) for old, start, stop in shares(rank, ranks, dealt_to, rows)
         for row in range(start, stop)]
        for rank in range(ranks)
    ]  # fmt: skip
    assert {len(of_rank) for of_rank in taken} == {rows * dealt_to // ranks}
    everything = [(old, row) for old in range(dealt_to) for row in range(rows)]
    assert [row for of_rank in taken for row in of_rank] == everything


@given(ranks=st.integers(1, 12), rows=st.integers(1, 9))
def test_the_ranks_it_was_dealt_to_take_their_own(ranks: int, rows: int) -> None:
    assert [shares(rank, ranks, ranks, rows) for rank in range(ranks)] == [
        [(rank, 0, rows)] for rank in range(ranks)
    ]
