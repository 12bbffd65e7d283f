"""First weights are a function of seed, table, row and column alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.initialize import fill_shard


def whole(seed: int = 1, table: str = "video", rows: int = 500, dim: int = 16) -> torch.Tensor:
    weight = torch.empty(rows, dim)
    fill_shard(weight, seed=seed, table=table, row_offset=0, column_offset=0, dim=dim, scale=0.5)
    return weight


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_shard_equals_its_part_of_the_table(data: st.DataObject) -> None:
    table = whole()
    top = data.draw(st.integers(0, 499))
    left = data.draw(st.integers(0, 15))
    rows = data.draw(st.integers(1, 500 - top))
    columns = data.draw(st.integers(1, 16 - left))
    shard = torch.empty(rows, columns)
    fill_shard(shard, seed=1, table="video", row_offset=top, column_offset=left, dim=16, scale=0.5)
    assert torch.equal(shard, table[top : top + rows, left : left + columns])


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    table = whole()
    monkeypatch.setattr("embeddings.initialize._CHUNK", 48)
    assert torch.equal(whole(), table)


def test_values_are_uniform_and_uncorrelated() -> None:
    table = whole(rows=20_000)
    assert table.min() >= -0.5
    assert table.max() < 0.5
    assert abs(table.mean()) < 0.01
    assert abs(table.std() - 1 / 12**0.5) < 0.01
    correlation = torch.corrcoef(table.T) - torch.eye(16)
    assert correlation.abs().max() < 0.04
    assert abs(torch.corrcoef(torch.stack([table[1:, 0], table[:-1, 0]]))[0, 1]) < 0.04


@pytest.mark.parametrize("other", [whole(seed=2), whole(table="author")])
def test_seed_and_table_matter(other: torch.Tensor) -> None:
    assert not torch.isclose(whole(), other).all(dim=1).any()


def test_half_precision_holds_the_same_values() -> None:
    half = torch.empty(500, 16, dtype=torch.float16)
    fill_shard(half, seed=1, table="video", row_offset=0, column_offset=0, dim=16, scale=0.5)
    assert torch.equal(half, whole().half())
