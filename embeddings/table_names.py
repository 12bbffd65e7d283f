"""Reserved table names: TorchRec stores tables in a ModuleDict, as attributes."""

from __future__ import annotations

from torch import nn

from embeddings.names import check_name


def check_table_name(name: str) -> str:
    """`name` itself. Raises ValueError for one that breaks the rule for names, or that torch keeps
    for its own (items, values)."""
    if hasattr(nn.ModuleDict(), check_name(name)):
        raise ValueError(
            f"a table cannot be called {name!r}: torch's ModuleDict, in which TorchRec stores "
            f"tables, has an attribute of this name; rename it, e.g. to {name + '_'!r}"
        )
    return name
