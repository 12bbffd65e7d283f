"""Tracks batches in the train pipeline, and pauses all ranks for a save or stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pipeline.data.batch import Batch
from pipeline.data.batch_source import BatchSource, DescribesBatches
from pipeline.ranks.coordinate import Flags
from pipeline.ranks.world import World


class InFlight:
    """Feeds the pipeline, and drains it on all ranks at the same step for a signal to any rank, or
    for a save."""

    def __init__(self, world: World, source: BatchSource) -> None:
        self._source = source
        self._flags = Flags(world, 2)
        self.batches: deque[Batch] = deque()
        """Batches yielded by the source whose step is not done, oldest first."""
        self.stopping = False
        self.save_due = False
        """Whether to save a checkpoint now, or to report that the last save failed."""

    def feed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield `batches`, ending early when the ranks agree to stop or save."""
        for batch in batches:
            self.batches.append(batch)
            yield batch
            if self.stopping or self.save_due:
                return

    def where(self, ago: int = 0) -> str:
        """Return the origin of the batch of the last or current step, or of `ago` steps before."""
        if isinstance(self._source, DescribesBatches):
            return self._source.describe(len(self.batches) + ago)
        return "from a source that does not describe its batches"

    def after_step(self, *, stop: bool, save: bool) -> None:
        """Read the flags posted after the last step, and post those of this step."""
        self.settle()
        self.batches.popleft()
        self._flags.post([int(stop), int(save)])

    def take_save_due(self) -> bool:
        """Whether a save is due; the caller makes it now."""
        due, self.save_due = self.save_due, False
        return due

    def settle(self) -> None:
        """Handle the flags posted last."""
        stop, save = self._flags.read()
        self.stopping = self.stopping or bool(stop)
        self.save_due = self.save_due or bool(save)
