"""Rows that changed are found to the bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoint import incremental
from pipeline.checkpoint.incremental import changed_rows, differing_rows


@given(
    rows=st.integers(0, 12),
    width=st.integers(0, 3),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.float64]),
    chunk=st.integers(1, 5),
    data=st.data(),
)
def test_rows_that_differ_in_a_bit_are_found(
    rows: int, width: int, dtype: torch.dtype, chunk: int, data: st.DataObject
) -> None:
    old = torch.arange(rows * max(width, 1)).reshape((rows, width) if width else (rows,)).to(dtype)
    if width == 0:
        old = old[:rows]
    new = old.clone()
    changed = data.draw(st.sets(st.integers(0, rows - 1))) if rows else set()
    for row in changed:
        # Equal as numbers, other bits; and the other way round.
        new[row] = data.draw(st.sampled_from([-1.0, float("nan"), float("inf"), -0.0]))
    expected = [
        row for row in range(rows) if new[row].numpy().tobytes() != old[row].numpy().tobytes()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "_CHUNK_ROWS", chunk)
        assert differing_rows(new, old).tolist() == expected


def test_minus_nought_is_a_change() -> None:
    assert differing_rows(torch.tensor([0.0, -0.0]), torch.tensor([0.0, 0.0])).tolist() == [1]
    nan = torch.tensor([float("nan")])
    assert differing_rows(nan, nan.clone()).tolist() == []


def test_what_is_not_sharded_is_copied_whole() -> None:
    weight, groups = torch.ones(3), [{"lr": 0.1}]
    found = changed_rows(
        {"dense": {"weight": weight, "groups": groups}},
        {"dense": {"weight": weight.clone(), "groups": groups}},
    )
    weight.zero_()
    groups[0]["lr"] = 0.2
    assert found["dense.weight"].tolist() == [1, 1, 1]
    assert found["dense.groups.0.lr"] == 0.1
