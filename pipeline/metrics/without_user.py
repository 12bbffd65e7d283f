"""The rows that GAUC leaves out because they have no user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAME = "gauc_rows_without_user"


def rows_without_user(results: Mapping[str, Mapping[str, Any]]) -> str | None:
    """A line on them, given counts by task (as in results.json); None if there are none."""
    if results and not any(row.keys() & {"gauc", "gauc_users"} for row in results.values()):
        return "No user column, so GAUC is not computed."
    shown = ", ".join(
        f"{task} {row[NAME]:,} of {row['rows']:,}" for task, row in results.items() if row.get(NAME)
    )
    return f"GAUC leaves out rows without a user: {shown}." if shown else None
