"""`homerec` that gets a signal in its first moments: when it begins to import a module.

python -m tests.launchers.cli.interrupted MODULE SIGNAL WORDS...
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from launchers.cli.main import main


class SignalAt(MetaPathFinder):
    """Finds nothing; the first look for `module` sends this process a signal."""

    def __init__(self, module: str, number: int) -> None:
        self._module = module
        self._number = number

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == self._module:
            self._module = ""
            os.kill(os.getpid(), self._number)
        return None


if __name__ == "__main__":
    at, number, *words = sys.argv[1:]
    sys.meta_path.insert(0, SignalAt(at, signal.Signals[number]))
    sys.argv[1:] = words
    sys.exit(main())
