"""Where a run stands: what it needs to know, besides tensors, to go on as if never stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


def lower_is_better(select: str) -> bool:
    """Whether a TASK/FIGURE counts a loss."""
    return select.endswith(("/ne", "/log_loss"))


@dataclass(kw_only=True)
class Progress:
    """Where a run stands, the same on every rank."""

    step: int = 0
    scheduled: float | None = None
    """Steps along the schedule, in steps of train.batch_size rows; None: as many as `step`."""
    world_size: int = 0
    device: str = "cpu"
    """Kind of device of the ranks that saved, whose random states are there."""
    source: dict[str, Any] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)
    """What training remembers of the last looks at the experts (see TrainingHealth)."""
    window: dict[str, int] = field(default_factory=dict)
    """What there is to know of the window of training figures besides its rows."""
    evaluated_step: int = 0
    select: str = "mean/auc"
    best_step: int | None = None
    best_value: float | None = None
    evaluations_without_better: int = 0

    def note(self, value: float | None) -> bool:
        """Count an evaluation of this step, `value` being its `select`; whether it is the best."""
        self.evaluated_step = self.step
        lower = lower_is_better(self.select)
        best = self.best_value
        # The first one stands even if undefined: a run has a result, and a checkpoint to name.
        better = self.best_step is None or (
            value is not None and (best is None or (value < best if lower else value > best))
        )
        self.evaluations_without_better = 0 if better else self.evaluations_without_better + 1
        if better:
            self.best_step, self.best_value = self.step, value
        return better

    def selecting(self, select: str) -> Progress:
        """The same place, judged by `select`: values of another figure mean nothing to it."""
        return self if select == self.select else replace(self._unjudged(), select=select)

    def with_best_among(self, steps: list[int]) -> Progress:
        """The same place; a best checkpoint that somebody has taken away is the best no more."""
        return self if self.best_step in (None, *steps) else self._unjudged()

    def _unjudged(self) -> Progress:
        """As if it had never been evaluated: the next evaluation stands, and this step's is due."""
        return replace(
            self,
            evaluated_step=0,
            best_step=None,
            best_value=None,
            evaluations_without_better=0,
        )
