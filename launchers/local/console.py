"""What a command that watches many runs says: on a terminal, or into a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> Console:
    """As wide as the terminal; a log has no width, so tables get room there."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def say(console: Console, line: str) -> None:
    """One line, whatever is in it and however long it is."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
