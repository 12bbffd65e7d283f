"""Batches between the data source and the end of their step, and when all ranks pause for a save
or a signal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pipeline.data.batch import Batch
from pipeline.data.parquet_source import BatchSource
from pipeline.ranks.coordinate import Flags
from pipeline.ranks.world import World


class Watch:
    """Stops every rank at the same step, for a signal to any or a save that is due, and knows the
    batches in flight."""

    def __init__(self, world: World, source: BatchSource) -> None:
        self._source = source
        self._flags = Flags(world, 2)
        self.in_flight: deque[Batch] = deque()
        self._origins: deque[tuple[int, int]] = deque()  # epoch and batch of those in flight
        self.stopping = False
        self.save_due = False
        """Whether a checkpoint is to be saved now, or the last save's failure to be told."""

    def feed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """`batches`, ending early once the ranks have agreed to stop or to save."""
        for batch in batches:
            self._origins.append((self._source.epoch, self._source.step - 1))
            self.in_flight.append(batch)
            yield batch
            if self.stopping or self.save_due:
                return

    def where(self) -> str:
        """Where the batch of the step just done, or under way, comes from."""
        epoch, batch = self._origins[0]
        if epoch == self._source.epoch:
            return self._source.describe(batch)
        return f"epoch {epoch}, batch {batch}"

    def after(self, *, stop: bool, save: bool) -> None:
        """After each step: learn what was posted after the last one, post this one's."""
        self.settle()
        self._origins.popleft()
        self.in_flight.popleft()
        self._flags.post([int(stop), int(save)])

    def settle(self) -> None:
        """Act on what was posted last."""
        stop, save = self._flags.read()
        self.stopping = self.stopping or bool(stop)
        self.save_due = self.save_due or bool(save)
