"""Where batches come from, as training and evaluation know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from pipeline.data.batch import Batch


class BatchSource(Protocol):
    """One rank's batches, in passes over the data (epochs).

    Every rank's source must yield equally many batches of equally many rows. A batch counts as
    consumed once it has been yielded, however far the source has read ahead.
    """

    @property
    def steps_left(self) -> int | None:
        """Batches of the pass under way still to come: at first all of a pass's, 0 after its last
        one until the next pass begins. None: the source is endless."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the pass under way, or else the next pass."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain JSON. The same on every rank."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a position that `state_dict` gave, perhaps on other ranks.

        Raises:
            UserError: the position is not one in this source.
        """
        ...


@runtime_checkable
class DescribesBatches(Protocol):
    """A source that can say where a batch came from, for error messages."""

    def describe(self, ago: int) -> str:
        """Of the batch yielded `ago` batches ago; 1 is the last one."""
        ...
