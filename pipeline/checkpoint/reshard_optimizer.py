"""Reshards row-wise accumulators when the split of a table's columns changes.

Row-wise Adagrad adds the mean of the squared gradients of a row to its accumulator. If a plan
splits columns, each block of columns has its own accumulator. On loading, each column gets the
accumulator of its saved block, and each new block gets the mean over its columns.

Joined blocks therefore get, up to rounding, the accumulator of an unsplit row with the same
gradients. When a row is split, every block gets the accumulator of the row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ColumnRange = tuple[int, int]
"""First column of a block, and first column after it."""


def overlaps(wanted: ColumnRange, saved: Sequence[ColumnRange]) -> list[tuple[int, int]]:
    """Return (index, common columns) of each of the `saved` blocks that overlaps `wanted`."""
    common = [min(wanted[1], end) - max(wanted[0], first) for first, end in saved]
    return [(index, columns) for index, columns in enumerate(common) if columns > 0]


def mean_of_columns(parts: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Average accumulators of a block, [R], over `parts`: accumulators [R] and number of columns.

    The result is bitwise equal to the parts if there is only one or all are equal: a float32 times
    a number of columns is exact in float64.
    """
    (first, _), *others = parts
    if not others:
        return first
    total = torch.zeros_like(first, dtype=torch.float64)
    for values, columns in parts:
        total += values.double() * columns
    return (total / sum(columns for _, columns in parts)).to(first.dtype)
