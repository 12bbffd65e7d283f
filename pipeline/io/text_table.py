"""Tables on a console, readable at 80 columns: names fold, numbers are never cut."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table


def text_table(title: str | None, texts: Iterable[str], numbers: Iterable[str] = ()) -> Table:
    """A table with columns of text, then of numbers; `add_text` and `add_number` add others."""
    view = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in texts:
        add_text(view, heading)
    for heading in numbers:
        add_number(view, heading)
    return view


def add_text(view: Table, heading: str) -> None:
    view.add_column(heading, overflow="fold")


def add_number(view: Table, heading: str) -> None:
    view.add_column(heading, justify="right", no_wrap=True)
