"""What watches training: the loop calls hooks and knows none of them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.data.batch import Batch
from pipeline.training.step import StepOutput


class Hook:
    """Override what you need. Every rank calls every method alike, so each may be a collective."""

    def before_step(self, step: int) -> None:
        """Before step `step`, counted from 1."""

    def after_step(self, step: int, output: StepOutput) -> None:
        """After it. `output.skipped`: the batch was rejected, and nothing has been learned."""

    def on_error(self, step: int, batch: Batch, error: Exception) -> None:
        """Step `step` failed on this rank, in `batch` or one behind it. May raise a clearer error;
        otherwise `error` is raised."""

    def after_segment(self, step: int) -> None:
        """The train pipeline is drained: a save follows, and maybe an evaluation."""

    def after_evaluation(
        self, step: int, results: Mapping[str, Mapping[str, Any]], health: dict[str, Any]
    ) -> None:
        """After an evaluation on the validation split. May add to `health`, which is recorded."""


class Hooks(Hook):
    """Several hooks as one, called in their order."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = list(hooks)

    def before_step(self, step: int) -> None:
        for hook in self._hooks:
            hook.before_step(step)

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
