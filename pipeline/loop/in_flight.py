"""Batches on their way through the train pipeline, and when all ranks pause for a save or stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pipeline.data.batch import Batch
from pipeline.data.batch_source import BatchSource, DescribesBatches
from pipeline.ranks.coordinate import Flags
from pipeline.ranks.world import World


class InFlight:
    """Feeds the pipeline and drains it on every rank at the same step: for a signal that any rank
    received, or a save that is due."""

    def __init__(self, world: World, source: BatchSource) -> None:
        self._source = source
        self._flags = Flags(world, 2)
        self.batches: deque[Batch] = deque()
        """Yielded by the source, their step not done; the oldest first."""
        self.stopping = False
        self.save_due = False
        """Whether to save a checkpoint now, or to report that the last save failed."""

    def feed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """`batches`, ending early once the ranks agree to stop or to save."""
        for batch in batches:
            self.batches.append(batch)
            yield batch
            if self.stopping or self.save_due:
                return

    def where(self) -> str:
        """Where the batch of the step just done, or under way, comes from."""
        if isinstance(self._source, DescribesBatches):
            return self._source.describe(len(self.batches))
        return "of a source that does not describe its batches"

    def after_step(self, *, stop: bool, save: bool) -> None:
        """Learn what was posted after the last step, post this one's."""
        self.settle()
        self.batches.popleft()
        self._flags.post([int(stop), int(save)])

    def take_save_due(self) -> bool:
        """Whether a save is due; the caller makes it now."""
        due, self.save_due = self.save_due, False
        return due

    def settle(self) -> None:
        """Act on what was posted last."""
        stop, save = self._flags.read()
        self.stopping = self.stopping or bool(stop)
        self.save_due = self.save_due or bool(save)
