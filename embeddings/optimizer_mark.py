"""Marks tables with the optimizer of their backward; sharding turns the mark into a fused kernel.

Torch 2.13 has only private names for this, and TorchRec 1.8's public wrapper is deprecated in favor
of them. Only this module uses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Optimizer


def mark(
    tables: Iterable[nn.Parameter], optimizer: type[Optimizer], arguments: Mapping[str, Any]
) -> None:
    """Mark each of `tables` with `optimizer`."""
    # Compiles all functional optimizers, 0.3 s, which a plan does not need.
    from torch.distributed.optim.apply_optimizer_in_backward import _apply_optimizer_in_backward

    _apply_optimizer_in_backward(optimizer, tables, dict(arguments))


def label(table: nn.Parameter, optimizer: type[Optimizer]) -> None:
    """The mark alone: for a table that is planned and never trained."""
    table._optimizer_classes = [optimizer]  # type: ignore[attr-defined]


def marked_optimizer(table: Tensor) -> type[Optimizer]:
    """Return the optimizer of a table; SGD, TorchRec's default, if it has no mark."""
    found: list[type[Optimizer]] = getattr(table, "_optimizer_classes", [SGD])
    (optimizer,) = found
    return optimizer


def copy_mark(source: Tensor, target: Tensor) -> None:
    """Copy the mark of `source`, if any, to `target`."""
    if hasattr(source, "_optimizer_classes"):
        target._optimizer_classes = source._optimizer_classes  # type: ignore[attr-defined]
