"""The one rule for names of tables, features and tasks."""

from __future__ import annotations

import re

# Dots and slashes part the names of parameters and metrics, commas the names in a list, and
# patterns have wildcards.
_TAKEN = re.compile(r"[\s.,/*?\[\]]")
_LENGTH = 200


def check_name(name: str) -> str:
    """`name` itself. Raises ValueError for one that does not stand for itself everywhere."""
    if not name:
        raise ValueError("'' is no name; give one")
    if len(name) > _LENGTH:
        raise ValueError(f"a name of {len(name)} characters; give one of at most {_LENGTH}")
    if _TAKEN.search(name) or not name.isprintable():
        other = re.sub(r"[^\w-]+", "_", name)
        raise ValueError(
            f"{name!r} is no name: it has a blank, a control character or one of . , / * ? [ ]; "
            f"rename it, e.g. to {other!r}"
        )
    return name
