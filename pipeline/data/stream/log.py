"""The interface of a log that grows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pipeline.data.stream.window import LogPosition, Window


class Log(Protocol):
    """Cuts rows that keep coming into windows. Used on rank 0; only `fetch` on every rank."""

    @property
    def waiting(self) -> Mapping[str, str]:
        """What cannot be read yet, and why."""
        ...

    def look(self, position: LogPosition) -> None:
        """Find out which rows are there. Raises UserError if rows after `position` are lost, or
        rows before it have changed."""
        ...

    def available(self, position: LogPosition) -> int:
        """Return the number of rows after `position`, as of the last look."""
        ...

    def take(self, position: LogPosition, rows: int, *, number: int) -> Window | None:
        """Return the window of the next `rows` rows; None if fewer are available."""
        ...

    def fetch(self, window: Window, path: Path) -> bool:
        """Write the rows of a window as JSON lines; False if its slices are files already."""
        ...
