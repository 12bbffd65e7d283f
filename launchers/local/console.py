"""Output of commands, to a terminal or a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pipeline.io.console import plain_console

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> Console:
    """Return a console as wide as the terminal, or 200 columns wide in a log."""
    console = plain_console()
    return console if console.is_terminal else plain_console(width=200)


def print_notice(message: str) -> None:
    """Print a line of the launcher to stderr, next to those of the ranks."""
    sys.stderr.write(f"homerec: {message}\n")
    sys.stderr.flush()
