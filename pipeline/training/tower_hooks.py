"""Hooks for the tower: moving average and running statistics."""

from __future__ import annotations

from models.ranker import Head
from pipeline.ranks.world import share_buffers
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput


class EmaUpdate(Hook):
    """Updates the moving average of the tower's weights after every step, if there is one."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def after_step(self, step: int, output: StepOutput) -> None:
        if not output.skipped:
            self._head.update_ema()


class BufferSync(Hook):
    """Copies rank 0's running statistics to all ranks before a save or evaluation."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def after_segment(self, step: int) -> None:
        share_buffers(self._head)
