"""Values in messages."""

from __future__ import annotations

from typing import Any

_LENGTH = 200


def quoted(value: Any) -> str:
    """`value` as Python writes it, cut at 200 characters."""
    text = repr(value)
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH - 3]}..."
