"""The interface of hooks, which the training loop calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.data.batch import Batch
from pipeline.training.step import StepOutput


class Hook:
    """Override any of the methods. All ranks call them in the same order, so they may be
    collectives."""

    def before_step(self, step: int) -> None:
        """Called before step `step`, counted from 1."""

    def needs_verdict(self, step: int) -> bool:
        """Whether `after_step` of step `step` must be called before the next step begins, for which
        the host waits for the device. Otherwise it may be called after the next step."""
        return False

    def after_step(self, step: int, output: StepOutput) -> None:
        """Called when the guard's verdict on the step is known; the run's own hooks that act on the
        device, at once. `output.skipped`: the batch was rejected, no weight changed."""

    def on_error(self, step: int, batch: Batch, error: Exception) -> None:
        """Called if step `step` failed on this rank, in `batch` or a later one. May raise a clearer
        error; otherwise `error` is raised."""

    def after_segment(self, step: int) -> None:
        """Called when the train pipeline is drained, before a save and possibly an evaluation."""

    def after_evaluation(
        self, step: int, results: Mapping[str, Mapping[str, Any]], health: dict[str, Any]
    ) -> None:
        """Called after an evaluation on the validation split. May add to `health`."""

    def after_training(self, step: int) -> None:
        """Called when training has ended, at its last step or early, but not by a signal."""


class Hooks(Hook):
    """Calls several hooks in order."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = list(hooks)

    def before_step(self, step: int) -> None:
        for hook in self._hooks:
            hook.before_step(step)

    def needs_verdict(self, step: int) -> bool:
        return any(hook.needs_verdict(step) for hook in self._hooks)

    def after_step(self, step: int, output: StepOutput) -> None:
        for hook in self._hooks:
            hook.after_step(step, output)

    def after_segment(self, step: int) -> None:
        for hook in self._hooks:
            hook.after_segment(step)

    def on_error(self, step: int, batch: Batch, error: Exception) -> None:
        for hook in self._hooks:
            hook.on_error(step, batch, error)

    def after_evaluation(
        self, step: int, results: Mapping[str, Mapping[str, Any]], health: dict[str, Any]
    ) -> None:
        for hook in self._hooks:
            hook.after_evaluation(step, results, health)

    def after_training(self, step: int) -> None:
        for hook in self._hooks:
            hook.after_training(step)
