"""Checks of column names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.io.errors import UserError


def check_names(where: str, names: Sequence[str]) -> None:
    """Raise UserError, starting with `where`, if two columns have one name."""
    name, count = Counter(names).most_common(1)[0] if names else ("", 1)
    if count > 1:
        raise UserError(f"{where}: {count} columns are named {name!r}; rename all but one")
