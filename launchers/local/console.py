"""Output of commands, to a terminal or a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> Console:
    """Return a console as wide as the terminal, or 200 columns wide in a log."""
    from rich.console import Console

    console = Console(markup=False)
    return console if console.is_terminal else Console(width=200, markup=False)


def print_line(console: Console, line: str) -> None:
    """Print a line without markup or wrapping."""
    console.print(line, highlight=False, soft_wrap=True)


def print_notice(message: str) -> None:
    """Print a line of the launcher to stderr, next to those of the ranks."""
    sys.stderr.write(f"homerec: {message}\n")
    sys.stderr.flush()
