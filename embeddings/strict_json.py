"""Strict JSON: a duplicate key, of which Python silently keeps the last, is an error."""

from __future__ import annotations

import json
from typing import Any

from embeddings.quoted import quoted


class DuplicateKey(ValueError):
    """A key is given twice in one object."""


def parse_json(text: str) -> Any:
    """The value in `text`.

    Raises ValueError in one line for what is not JSON, a key that is given twice, values nested too
    deeply, and integers of thousands of digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def check_keys(text: str) -> None:
    """Raise DuplicateKey, in one line, if a key is given twice. What is not JSON passes: another
    reader follows."""
    try:
        json.loads(text, object_pairs_hook=_object, parse_int=len, parse_float=len)
    except DuplicateKey:
        raise
    except (ValueError, RecursionError):
        return


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DuplicateKey(f"key {quoted(twice)} is given twice")
    return found
