"""Keeps bad steps from the tables by checking each step during its backward.

Sharded tables are updated inside backward, so a check afterwards is too late. Forward hooks attach
the guard to the tower's input: when its gradient is available, the loss is known, the tower's
backward is done, and no table has been updated. One small all-reduce makes the same decision on all
ranks. For a bad step the gradient of the tables is set to zero, which does not change row-wise
Adagrad, and the optimizer step is skipped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.config.sections import FaultsConfig
from pipeline.faults.attribution import attribute
from pipeline.ranks.timed_all_reduce import all_reduce_seconds
from pipeline.ranks.world import World
from pipeline.training.optimizer import RunOptimizer
from pipeline.training.step import Step, StepOutput

BadStepKind = Literal["nonfinite", "spike"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadStep:
    """Why a step was rejected. `kind` is equal on all ranks, the rest may differ."""

    kind: BadStepKind
    mine: bool
    """Whether this rank's part of the batch is at fault (for a spike: has the largest loss)."""
    what: str
    """Such as 'loss is not finite'; no task, batch or rank."""
    feature: str
    """The feature at fault, if known; '' if not `mine`."""


class StepGuard:
    """Checks every training step; `bad_step` is set if the last one was rejected.

    Every rank must train the same number of steps. `seconds_W` is each rank's time in forward and
    backward of the tower in the last step.
    """

    def __init__(
        self, step: Step, config: FaultsConfig, world: World, columns: Sequence[tuple[str, int]]
    ) -> None:
        """`columns`: name and width of the parts of the tower's input, in order."""
        self._config = config
        self._world = world
        self._columns = list(columns)
        self._step = step
        self._buffers = [*step.model.head.buffers(), *step.loss.buffers()]
        self._copies: list[Tensor] = []
        self._recent: deque[float] = deque(maxlen=config.spike_window)
        self._loss = torch.zeros(())
        self._losses_T = torch.zeros(1)
        self._began = 0.0
        self.bad_step: BadStep | None = None
        self.seconds_W = torch.zeros(world.size, dtype=torch.float64)
        step.model.head.tower_input.register_forward_hook(self._on_input)
        step.result.register_forward_hook(self._on_result)

    def before_step(self) -> None:
        """Copy running statistics, to restore them if the step is rejected."""
        self.bad_step = None
        if self._buffers:
            self._copies = [buffer.detach().clone() for buffer in self._buffers]

    def optimizer(self, optimizer: RunOptimizer) -> GuardedOptimizer:
        """Wrap `optimizer` for the train pipeline, so that rejected steps are skipped."""
        return GuardedOptimizer(optimizer, self)

    def undo(self) -> None:
        """Restore running statistics from before the step."""
        with torch.no_grad():
            for buffer, copy in zip(self._buffers, self._copies, strict=True):
                buffer.copy_(copy)

    def reject_gradient(self) -> None:
        """Reject a step whose tower gradient, equal on all ranks, is not finite."""
        self.bad_step = BadStep(
            kind="nonfinite",
            mine=self._world.is_first,
            what="gradient of the tower's weights is not finite (that of its input was finite, so "
            "fused tables were updated with this batch; replicated tables were not)",
            feature="",
        )

    def _on_input(self, _: nn.Module, inputs: Any, v_BF: Tensor) -> Tensor:
        """Attach a hook to the gradient of the tower's input."""
        self._began = time.perf_counter() - all_reduce_seconds()
        if not (self._step.training and v_BF.requires_grad):
            return v_BF
        values_BF = v_BF.detach()

        def judge(gradient_BF: Tensor) -> Tensor | None:
            return self._judge(values_BF, gradient_BF)

        v_BF.register_hook(judge)  # type: ignore[no-untyped-call]
        # A new tensor, so that other gradient queries for the input do not trigger the hook.
        return v_BF.view_as(v_BF)

    def _on_result(self, _: nn.Module, inputs: Any, result: tuple[Tensor, StepOutput]) -> None:
        """Record the loss of a step, before its backward."""
        total, output = result
        self._losses_T, self._loss = output.losses_T, total.detach()

    def _judge(self, values_BF: Tensor, gradient_BF: Tensor) -> Tensor | None:
        # The sum is non-finite if any element is, and reads the gradient only once. A gradient
        # whose sum overflows is bad, too.
        bad_loss = not bool(torch.isfinite(self._losses_T.sum() + self._loss))
        bad_gradient = not bool(torch.isfinite(gradient_BF.sum()))
        loss = 0.0 if bad_loss else float(self._loss)
        reports_W3 = torch.zeros(self._world.size, 3, dtype=torch.float64)
        reports_W3[self._world.rank] = torch.tensor(
            [
                bad_loss or bad_gradient,
                loss,
                time.perf_counter() - all_reduce_seconds() - self._began,
            ],
            dtype=torch.float64,
        )
        dist.all_reduce(reports_W3, group=self._world.control)
        bad_W, loss_W, self.seconds_W = reports_W3.unbind(1)
        mean = float(loss_W.mean())
        limit = self._limit()
        if bool(bad_W.any()):
            what = "loss is not finite" if bad_loss else "gradient is not finite"
            mine = self._at_fault(bad_loss or bad_gradient, values_BF)
            self._reject("nonfinite", mine, what, values_BF, gradient_BF)
        elif limit is not None and mean > limit:
            what = f"loss {mean:.6g} is a spike (above {limit:.6g})"
            mine = int(loss_W.argmax()) == self._world.rank
            self._reject("spike", mine, what, values_BF, gradient_BF)
        else:
            self._recent.append(mean)
            return None
        return torch.zeros_like(gradient_BF)

    def _at_fault(self, bad: bool, values_BF: Tensor) -> bool:
        """Whether this rank is at fault: batch norms over all ranks spread its bad values."""
        input_is_bad = not bool(torch.isfinite(values_BF).all())
        anyone = torch.tensor(int(input_is_bad))
        dist.all_reduce(anyone, op=dist.ReduceOp.MAX, group=self._world.control)
        return input_is_bad if int(anyone) else bad

    def _limit(self) -> float | None:
        """Return median + k * MAD of the last losses; None if there are too few, or k is 0."""
        recent = self._recent
        if not self._config.spike_mad or len(recent) < self._config.spike_window // 2:
            return None
        known = torch.tensor(list(recent), dtype=torch.float64)
        median = known.median()
        return float(median + self._config.spike_mad * (known - median).abs().median())

    def _reject(
        self,
        kind: BadStepKind,
        mine: bool,
        what: str,
        values_BF: Tensor,
        gradient_BF: Tensor,
    ) -> None:
        feature = attribute(values_BF, gradient_BF, self._columns) if mine else ""
        self.bad_step = BadStep(kind=kind, mine=mine, what=what, feature=feature)


class GuardedOptimizer:
    """The methods of an optimizer that TorchRec's train pipelines use."""

    def __init__(self, optimizer: RunOptimizer, guard: StepGuard) -> None:
        self._optimizer = optimizer
        self._guard = guard

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._optimizer.zero_grad(set_to_none=set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> None:
        guard, optimizer = self._guard, self._optimizer
        optimizer.rejected.fill_(guard.bad_step is not None)
        optimizer.step(closure)
        if guard.bad_step is None and bool(optimizer.nonfinite):
            guard.reject_gradient()
        if guard.bad_step is not None:
            guard.undo()
