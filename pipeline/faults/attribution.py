"""Finds the feature that caused a bad step, from the tower's input and its gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DIVERGED = "no feature's values stand out: the weights have probably diverged"

# A row's norm from which on a tower's products may overflow though its weights are ordinary.
_LARGE = 1e6


def attribute(values_BF: Tensor, gradient_BF: Tensor, columns: Sequence[tuple[str, int]]) -> str:
    """The feature at fault and why: 'feature video_id: values not finite in row 3'; or DIVERGED.

    Args:
        values_BF: the tower's input.
        gradient_BF: gradient of the loss with respect to it.
        columns: name and width of each feature's columns, in order.

    Values that are not finite come first, for they spoil every gradient; then a gradient of some
    features alone; else the feature with the largest row norm (an embedding that explodes). Where
    all gradients are not finite and no row is large, the weights are at fault.
    """
    widths = [width for _, width in columns]
    values, gradients = torch.split(values_BF, widths, 1), torch.split(gradient_BF, widths, 1)
    parts = [
        (name, value_BD, gradient_BD)
        for (name, _), value_BD, gradient_BD in zip(columns, values, gradients, strict=True)
    ]
    for name, value_BD, _ in parts:
        if (row := _first_bad(value_BD)) is not None:
            return f"feature {name}: values not finite in row {row}"
    bad = [(name, row) for name, _, g in parts if (row := _first_bad(g)) is not None]
    if bad and len(bad) < len(parts):
        return f"feature {bad[0][0]}: gradient not finite in row {bad[0][1]}"
    norms = torch.stack([value_BD.norm(dim=1).max() for _, value_BD, _ in parts])
    most = int(norms.argmax())
    if bad and float(norms[most]) < _LARGE:
        return DIVERGED
    row = int(parts[most][1].norm(dim=1).argmax())
    return (
        f"feature {parts[most][0]}: largest norm {float(norms[most]):.3g} in row {row}, "
        f"median of features {float(norms.median()):.3g}"
    )


def _first_bad(x_BD: Tensor) -> int | None:
    rows = (~torch.isfinite(x_BD).all(dim=1)).nonzero()
    return int(rows[0]) if len(rows) else None
