"""Names that a table cannot have: TorchRec keeps tables in a ModuleDict, by attributes."""

from __future__ import annotations

from torch import nn

from embeddings.names import check_name


def check_table_name(name: str) -> str:
    """`name` itself. Raises ValueError for one that breaks the rule for names, or that torch keeps
    for its own (items, values)."""
    if hasattr(nn.ModuleDict(), check_name(name)):
        raise ValueError(
            f"a table cannot be called {name!r}: torch's ModuleDict, which TorchRec keeps tables "
            f"in, has an attribute of that name; rename it, e.g. to {name + '_'!r}"
        )
    return name
