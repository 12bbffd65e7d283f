"""Hooks for the tower: moving average and running statistics."""

from __future__ import annotations

from models.ranker import Head
from pipeline.ranks.world import share_buffers
from pipeline.training.hooks import Hook
from pipeline.training.optim.optimizer import RunOptimizer
from pipeline.training.step import StepOutput


class EmaUpdate(Hook):
    """Updates the moving average of the tower's weights after every step, if there is one. Must
    precede hooks that are called late: weights change in the next step."""

    def __init__(self, head: Head, optimizer: RunOptimizer) -> None:
        self._head, self._optimizer = head, optimizer

    def after_step(self, step: int, output: StepOutput) -> None:
        self._head.update_ema(self._optimizer.skipped)


class BufferSync(Hook):
    """Copies rank 0's running statistics to all ranks before a save or evaluation."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def after_segment(self, step: int) -> None:
        share_buffers(self._head)
