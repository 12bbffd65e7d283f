"""Files that run code when they are unpickled: a reader must refuse them and run nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any


class Touch:
    """Unpickled, it makes a file: the sign that the code in it ran."""

    def __init__(self, sign: Path) -> None:
        self._command = f"touch '{sign}'"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


def assert_works(payload: bytes, sign: Path) -> None:
    """The file is as hostile as it says: plain pickle runs it."""
    pickle.loads(payload)
    assert sign.exists()
    sign.unlink()
