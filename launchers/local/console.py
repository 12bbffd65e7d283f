"""Output of commands, on a terminal or into a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> Console:
    """As wide as the terminal, or 200 columns in a log."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: no markup, no wrapping."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_notice(message: str) -> None:
    """Print a line of the launcher's to stderr, beside those of the ranks."""
    sys.stderr.write(f"homerec: {message}\n")
    sys.stderr.flush()
