"""The kernels of sharded collections.

TorchRec 1.8 keeps them in a private plain list, which `modules()` does not enter, and has no public
way to them. It is read here alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def lookups(model: nn.Module) -> Iterator[nn.Module]:
    """The lookup modules of every sharded collection in `model`."""
    for module in model.modules():
        yield from getattr(module, "_lookups", ())
