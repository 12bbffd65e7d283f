"""What watches training: the loop calls hooks and knows none of them by name."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.training.step import StepOutput


class Hook:
    """Override what you need. Every rank calls every method alike, so each may be a collective."""

    def before_step(self, step: int) -> None:
        """Before step `step`, counted from 1."""

    def after_step(self, step: int, output: StepOutput) -> None:
        """After it. `output.skipped`: the batch was rejected, and nothing has been learned."""

    def after_segment(self, step: int) -> None:
        """The train pipeline is drained: a save follows, and maybe an evaluation."""


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
