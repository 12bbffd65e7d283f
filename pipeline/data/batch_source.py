"""The interface of a source of batches for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from pipeline.data.batch import Batch


class BatchSource(Protocol):
    """Batches of one rank, in passes over the data (epochs).

    The sources of all ranks must yield the same number of batches with the same number of rows. A
    batch counts as consumed once it has been yielded, regardless of read-ahead.
    """

    @property
    def steps_left(self) -> int | None:
        """Number of batches left in the current pass: initially all, 0 after the last one until the
        next pass starts. None: the source is endless."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of the current pass, or else the next pass."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position as JSON values, equal on every rank."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a position of `state_dict`, possibly on other ranks.

        Raises:
            UserError: the position does not belong to this source.
        """
        ...


@runtime_checkable
class DescribesBatches(Protocol):
    """A source that can describe the origin of a batch, for error messages."""

    def describe(self, ago: int) -> str:
        """Describe the batch yielded `ago` batches ago; 1 is the last one."""
        ...
