"""Small files, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write beside, sync, rename: a crash leaves the old file or the new one, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """As `write_text`; a number that is not finite is an error, for JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
