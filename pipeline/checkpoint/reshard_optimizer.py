"""Resharding of row-wise accumulators over another split of a table's columns.

Row-wise Adagrad adds to a row's accumulator the mean of its squared gradients: over the whole row,
or, where a plan splits columns, over each block of them, which has an accumulator of its own. What
a checkpoint means by them is this: a column has the accumulator of the block it lies in, and a
block has the mean of its columns'.

So blocks that are joined get, to rounding, what the joined row would have had for the same
gradients. A row that is split gives its accumulator to every block: nothing finer is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ColumnRange = tuple[int, int]
"""The first column of a block, and the first after it."""


def overlaps(wanted: ColumnRange, saved: Sequence[ColumnRange]) -> list[tuple[int, int]]:
    """(index, columns in common) of each of the `saved` blocks that overlaps `wanted`."""
    common = [min(wanted[1], end) - max(wanted[0], first) for first, end in saved]
    return [(index, columns) for index, columns in enumerate(common) if columns > 0]


def mean_of_columns(parts: Sequence[tuple[Tensor, int]]) -> Tensor:
    """[R] accumulators of a block, of `parts`: [R] and how many of the block's columns have them.

    A block that lies in one saved block gets its accumulators bit for bit, and so does one whose
    parts are equal: a float32 times a number of columns is exact in float64.
    """
    (first, _), *others = parts
    if not others:
        return first
    total = torch.zeros_like(first, dtype=torch.float64)
    for values, columns in parts:
        total += values.double() * columns
    return (total / sum(columns for _, columns in parts)).to(first.dtype)
