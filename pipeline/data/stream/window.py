"""What a window consists of, decided on rank 0 and equal on every rank."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from embeddings.frozen import Frozen
from pipeline.io.typed_json import Count


class LogPosition(Frozen):
    """Position in a folder of files or a topic of Kafka: all rows before it have been taken."""

    done: Mapping[str, Count] = Field(default_factory=dict)
    """Bytes of each file of which all rows have been taken, by name."""
    file: str | None = None
    """File of which some rows have been taken."""
    size: Count = 0
    """Its bytes."""
    row: Count = 0
    """Rows of it that have been taken."""
    offsets: Mapping[str, Count] = Field(default_factory=dict)
    """Next offset of each partition of a topic."""
    rows: Count = 0
    """Rows taken in all."""
    late_rows: Count = 0
    """Those of files whose names come before that of a file taken earlier."""


class Slice(Frozen):
    """Rows of a file, or messages of a partition."""

    file: str
    """Name of the file, or number of the partition."""
    size: Count
    """Bytes of the file."""
    first: Count
    """Number in the file of the first row, from 0; or offset of the first message."""
    rows: Count


class Window(Frozen):
    """Rows that are scored, then trained."""

    number: Count
    """From 1."""
    slices: tuple[Slice, ...]
    after: LogPosition
    """The position when the window has been trained."""
    lag_rows: Count
    """Rows of complete files that were there after the window when it was taken."""

    @property
    def rows(self) -> int:
        """Rows, with bad ones."""
        return sum(part.rows for part in self.slices)
