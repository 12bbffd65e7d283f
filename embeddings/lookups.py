"""Access to the kernels of sharded collections.

TorchRec 1.8 stores them in a private list, which `modules()` does not traverse, and has no public
accessor. Only this module reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def lookups(model: nn.Module) -> Iterator[nn.Module]:
    """Return the lookup modules of every sharded collection in `model`."""
    for module in model.modules():
        yield from getattr(module, "_lookups", ())
