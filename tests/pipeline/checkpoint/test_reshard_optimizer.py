"""Accumulators under another cut: what a column has is kept, a block has its columns' mean."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.checkpoint.reshard_optimizer import ColumnRange, mean_of_columns, overlaps

_ROWS = 3


@st.composite
def cuts(draw: st.DrawFn, dim: int) -> list[ColumnRange]:
    """A table's columns in blocks, from the left."""
    inner = draw(st.lists(st.integers(1, dim - 1), unique=True))
    ends = [0, *sorted(inner), dim]
    return list(pairwise(ends))


@st.composite
def two_cuts(draw: st.DrawFn) -> tuple[list[ColumnRange], list[ColumnRange]]:
    dim = draw(st.integers(2, 24))
    return draw(cuts(dim)), draw(cuts(dim))


def values(seed: int, blocks: list[ColumnRange]) -> list[Tensor]:
    """Accumulators of each block, over many orders of magnitude, some of them 0."""
    random = np.random.default_rng(seed)
    drawn = 10.0 ** random.uniform(-12, 3, (len(blocks), _ROWS)) * random.integers(0, 2, _ROWS)
    return list(torch.tensor(drawn, dtype=torch.float32))


def moved(sums: list[Tensor], blocks: list[ColumnRange], to: list[ColumnRange]) -> list[Tensor]:
    return [
        mean_of_columns([(sums[index], common) for index, common in overlaps(block, blocks)])
        for block in to
    ]


def by_column(sums: list[Tensor], blocks: list[ColumnRange]) -> Tensor:
    """[D, rows] in float64."""
    parts = [
        value.double().expand(end - first, _ROWS)
        for value, (first, end) in zip(sums, blocks, strict=True)
    ]
    return torch.cat(parts)


@given(two_cuts(), st.integers(0, 99))
def test_a_block_has_its_columns_mean(
    both: tuple[list[ColumnRange], list[ColumnRange]], seed: int
) -> None:
    old, new = both
    sums = values(seed, old)
    columns = by_column(sums, old)
    for value, (first, end) in zip(moved(sums, old, new), new, strict=True):
        torch.testing.assert_close(
            value.double(), columns[first:end].mean(0), rtol=1e-7, atol=1e-30
        )


@given(two_cuts(), st.integers(0, 99))
def test_split_and_joined_again_is_bit_equal(
    both: tuple[list[ColumnRange], list[ColumnRange]], seed: int
) -> None:
    coarse, other = both
    edges = sorted({edge for block in coarse + other for edge in block})
    fine = list(pairwise(edges))
    sums = values(seed, coarse)
    for back, value in zip(moved(moved(sums, coarse, fine), fine, coarse), sums, strict=True):
        assert torch.equal(back, value)


@given(two_cuts(), st.integers(0, 99))
def test_joined_blocks_have_what_the_row_would(
    both: tuple[list[ColumnRange], list[ColumnRange]], seed: int
) -> None:
    """Row-wise Adagrad on whole rows, and on blocks that are joined after it."""
    blocks, _ = both
    dim = blocks[-1][1]
    gradients = np.random.default_rng(seed).normal(size=(5, _ROWS, dim))
    squares = torch.tensor(gradients, dtype=torch.float32) ** 2
    sums = [squares[:, :, first:end].mean(2).sum(0) for first, end in blocks]
    (row,) = moved(sums, blocks, [(0, dim)])
    torch.testing.assert_close(row, squares.mean(2).sum(0))
