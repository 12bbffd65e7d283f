"""Hooks that keep what belongs to the tower: its moving average and its running statistics."""

from __future__ import annotations

from models.ranker import Head
from pipeline.ranks.world import share_buffers
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput


class EmaUpdate(Hook):
    """The moving average of the tower's weights follows every step; nothing where there is none."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def after_step(self, step: int, output: StepOutput) -> None:
        if not output.skipped:
            self._head.update_ema()


class BufferSync(Hook):
    """Rank 0's running statistics on every rank, before they are saved or evaluated."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def after_segment(self, step: int) -> None:
        share_buffers(self._head)
