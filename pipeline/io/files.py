"""Small files, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath


def write_text(path: AnyPath, text: str) -> None:
    """Write beside, sync, rename: a crash leaves the old file or the new one, never a part."""
    if not isinstance(path, Path):
        path.write_text(text)  # a store takes a file whole or not at all
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # a full disk, say
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def write_json(path: AnyPath, value: Any) -> None:
    """As `write_text`; a number that is not finite is an error, for JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: AnyPath, *, needs: tuple[str, ...], remedy: str) -> dict[str, Any]:
    """The object in a file of ours. UserError if it is damaged: no JSON, or a key of `needs` lacks.

    `remedy` ends the message.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); {remedy}") from error
    for key in needs:
        if not isinstance(value, dict) or key not in value:
            raise UserError(f"{path}: damaged (no {key!r} in it); {remedy}")
    found: dict[str, Any] = value
    return found
