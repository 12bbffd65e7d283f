"""Output on a console or to a log, with names and paths as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console without markup and emoji codes: `[red]` and `:fire:` may be in a name."""
    from rich.console import Console

    return Console(stderr=stderr, width=width, markup=False, emoji=False)


def print_line(console: Console, line: str) -> None:
    """Print a line without wrapping."""
    console.print(line, highlight=False, soft_wrap=True)
