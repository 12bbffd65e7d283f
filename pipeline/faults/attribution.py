"""Which feature broke a step: from the tower's input and its gradient, by columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def blame(
    values_BF: Tensor, gradient_BF: Tensor, spans: Sequence[tuple[str, int]], dense: Sequence[str]
) -> str:
    """A sentence's part that names it: 'feature video_id: values not finite in row 3'.

    Args:
        values_BF: the tower's input.
        gradient_BF: the loss's gradient at it.
        spans: name and width of the columns; the dense features come last, under ''.
        dense: the dense features, a column each.

    Values that are not finite come first, for they spoil every gradient; then a gradient of some
    features alone; else the feature whose largest row norm stands highest above the others'
    median (an embedding that explodes).
    """
    columns: list[tuple[str, Tensor, Tensor]] = []
    begin = 0
    for name, width in spans:
        if name:
            part = slice(begin, begin + width)
            columns.append((name, values_BF[:, part], gradient_BF[:, part]))
            begin += width
    for at, name in enumerate(dense):
        part = slice(begin + at, begin + at + 1)
        columns.append((name, values_BF[:, part], gradient_BF[:, part]))
    for name, value_BD, _ in columns:
        if (row := _first_bad(value_BD)) is not None:
            return f"feature {name}: values not finite in row {row}"
    bad = [(name, row) for name, _, g in columns if (row := _first_bad(g)) is not None]
    if bad and len(bad) < len(columns):
        return f"feature {bad[0][0]}: gradient not finite in row {bad[0][1]}"
    norms = torch.stack([value_BD.norm(dim=1).max() for _, value_BD, _ in columns])
    most = int(norms.argmax())
    row = int(columns[most][1].norm(dim=1).argmax())
    return (
        f"feature {columns[most][0]}: largest norm {float(norms[most]):.3g} in row {row}, "
        f"median of features {float(norms.median()):.3g}"
    )


def _first_bad(x_BD: Tensor) -> int | None:
    rows = (~torch.isfinite(x_BD).all(dim=1)).nonzero()
    return int(rows[0]) if len(rows) else None
