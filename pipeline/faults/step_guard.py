"""Keeps bad steps from the tables by checking each step during its backward.

Sharded tables are updated inside backward, so a check afterwards is too late. Forward hooks attach
the guard to the tower's input: when its gradient is available, the loss is known, the tower's
backward is done, and no table has been updated. One small all-reduce makes the same decision on all
ranks. For a bad step the gradient of the tables is set to zero, which does not change row-wise
Adagrad, and the optimizer step is skipped.

The decision stays on the device. The host reads it later, as a `Verdict`, so that it never waits
for the device within a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.config.sections import FaultsConfig
from pipeline.faults.attribution import attribute
from pipeline.ranks.device import HostCopy, Instant
from pipeline.ranks.timed_all_reduce import take_waits
from pipeline.ranks.world import World
from pipeline.training.hooks import Hook
from pipeline.training.optim.optimizer import RunOptimizer
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


class StepGuard(Hook):
    """Checks every training step. Must precede hooks that use the tower's running statistics.

    Every rank must train the same number of steps.
    """

    def __init__(
        self,
        step: Step,
        optimizer: RunOptimizer,
        config: FaultsConfig,
        world: World,
        columns: Sequence[tuple[str, int]],
    ) -> None:
        """`columns`: name and width of the parts of the tower's input, in order."""
        self._config = config
        self._world = world
        self._columns = list(columns)
        self._step = step
        self._optimizer = optimizer
        head = step.model.head
        parts = (head.tower, head.tower_input, step.loss)
        self._buffers = [buffer for part in parts for buffer in part.buffers()]
        self._copies = [torch.empty_like(buffer) for buffer in self._buffers]
        # Losses of the last accepted steps, oldest first; NaN until there are as many.
        self._recent_N = torch.full(
            (config.spike_window,), torch.nan, dtype=torch.float64, device=world.device
        )
        self._loss = torch.zeros(())
        self._losses_T = torch.zeros(1)
        self._began = Instant(world.device)
        self._timed: list[tuple[Instant, Instant]] = []  # the last step, and its waits
        self._judged: tuple[Tensor, Tensor, Tensor] | None = None
        self.seconds = [0.0] * world.size
        """Each rank's time in forward and backward of the tower, in a recent step."""
        head.tower_input.register_forward_hook(self._on_input)
        step.result.register_forward_hook(self._on_result)

    def before_step(self, step: int) -> None:
        """Copy running statistics, to restore them if the step is rejected."""
        if self._buffers:
            torch._foreach_copy_(self._copies, self._buffers)

    def after_step(self, step: int, output: StepOutput) -> None:
        """Restore running statistics if the step was rejected."""
        skipped = self._optimizer.skipped == 1
        with torch.no_grad():
            for buffer, copy in zip(self._buffers, self._copies, strict=True):
                buffer.copy_(torch.where(skipped, copy, buffer))

    def take_verdict(self) -> Verdict:
        """Return the verdict on the last step, not read yet."""
        assert self._judged is not None, "no backward has run"
        (report, values_BF, gradient_BF), self._judged = self._judged, None
        report = torch.cat([report, self._optimizer.nonfinite.double()[None]])
        return Verdict(HostCopy(report), values_BF, gradient_BF, self._columns, self._world)

    def _on_input(self, _: nn.Module, inputs: Any, v_BF: Tensor) -> Tensor:
        """Attach a hook to the gradient of the tower's input."""
        if not (self._step.training and v_BF.requires_grad):
            return v_BF
        values_BF = v_BF.detach()
        take_waits()
        self._began = Instant(v_BF.device)

        def judge(gradient_BF: Tensor) -> Tensor:
            return self._judge(values_BF, gradient_BF)

        v_BF.register_hook(judge)  # type: ignore[no-untyped-call]
        # A new tensor, so that other gradient queries for the input do not trigger the hook.
        return v_BF.view_as(v_BF)

    def _on_result(self, _: nn.Module, inputs: Any, result: tuple[Tensor, StepOutput]) -> None:
        """Record the loss of a step, before its backward."""
        total, output = result
        self._losses_T, self._loss = output.losses_T, total.detach()

    def _seconds(self) -> float:
        """Return the last step's time in forward and backward of the tower, without waiting for
        other ranks; note that of this step, which the device has not done yet."""
        spans = [began.seconds_until(ended) for began, ended in self._timed]
        self._timed = [(self._began, Instant(self._world.device)), *take_waits()]
        return 2 * spans[0] - sum(spans) if spans else 0.0

    def _judge(self, values_BF: Tensor, gradient_BF: Tensor) -> Tensor:
        """Return the gradient, or zeros if the step is rejected."""
        seconds = self._seconds()
        # A sum is non-finite if any element is, and reads the gradient only once. A gradient whose
        # sum overflows is bad, too.
        bad_loss = ~torch.isfinite(self._losses_T.sum() + self._loss)
        bad_gradient = ~torch.isfinite(gradient_BF.sum())
        loss = torch.where(bad_loss, 0.0, self._loss.double())
        report = [bad_loss.double(), bad_gradient.double(), loss, torch.full_like(loss, seconds)]
        reports_W4 = torch.zeros(self._world.size, 4, dtype=loss.dtype, device=loss.device)
        reports_W4[self._world.rank] = torch.stack(report)
        dist.all_reduce(reports_W4)
        mean = reports_W4[:, 2].mean()
        limit = spike_limit(self._recent_N, self._config.spike_mad)
        is_nonfinite, is_spike = (reports_W4[:, :2] > 0).any(), mean > limit
        rejected = is_nonfinite | is_spike
        longer_N = torch.cat([self._recent_N[1:], mean[None]])
        self._recent_N = torch.where(rejected, self._recent_N, longer_N)
        self._optimizer.rejected = rejected.float()
        decided = torch.stack([mean, limit, is_nonfinite.double(), is_spike.double()])
        self._judged = (torch.cat([reports_W4.flatten(), decided]), values_BF, gradient_BF)
        return torch.where(rejected, 0.0, gradient_BF)


def spike_limit(recent_N: Tensor, mads: float) -> Tensor:
    """Return median + mads * MAD of the known losses among `recent_N`, NaN being unknown.

    Infinite if less than half of them are known, or `mads` is 0. The lower median, as torch's.
    """
    if not mads:
        return torch.full_like(recent_N[0], torch.inf)
    known = (~recent_N.isnan()).sum()
    middle = ((known - 1) // 2).clamp(min=0)[None]
    median = recent_N.sort().values.gather(0, middle)  # NaNs come last
    mad = (recent_N - median).abs().sort().values.gather(0, middle)
    return torch.where(known < len(recent_N) // 2, torch.inf, (median + mads * mad)[0])


class Verdict:
    """The guard's decision on a step, on its way to the host, and what explains it."""

    def __init__(
        self,
        report: HostCopy,
        values_BF: Tensor,
        gradient_BF: Tensor,
        columns: list[tuple[str, int]],
        world: World,
    ) -> None:
        self._report = report
        self._values_BF, self._gradient_BF = values_BF, gradient_BF
        self._columns, self._world = columns, world

    def read(self) -> tuple[BadStep | None, list[float]]:
        """Return what is wrong with the step, if anything, and `StepGuard.seconds`. Waits for the
        device; a collective for a bad step."""
        *reports, mean, limit, is_nonfinite, is_spike, tower_is_nonfinite = self._report.tolist()
        bad_losses, bad_gradients, losses, seconds = (reports[n::4] for n in range(4))
        rank = self._world.rank
        bad_step: BadStep | None = None
        if is_nonfinite:
            what = "loss is not finite" if bad_losses[rank] else "gradient is not finite"
            mine = self._at_fault(bool(bad_losses[rank] or bad_gradients[rank]))
            bad_step = self._bad_step("nonfinite", mine, what)
        elif is_spike:
            what = f"loss {mean:.6g} is a spike (above {limit:.6g})"
            bad_step = self._bad_step("spike", losses.index(max(losses)) == rank, what)
        elif tower_is_nonfinite:
            bad_step = BadStep(
                kind="nonfinite",
                mine=self._world.is_first,
                what="gradient of the tower's weights is not finite (that of its input was finite, "
                "so fused tables were updated with this batch; replicated tables were not)",
                feature="",
            )
        return bad_step, seconds

    def _at_fault(self, bad: bool) -> bool:
        """Whether this rank is at fault: batch norms over all ranks spread its bad values."""
        input_is_bad = not bool(torch.isfinite(self._values_BF).all())
        anyone = torch.tensor(int(input_is_bad))
        dist.all_reduce(anyone, op=dist.ReduceOp.MAX, group=self._world.control)
        return input_is_bad if int(anyone) else bad

    def _bad_step(self, kind: BadStepKind, mine: bool, what: str) -> BadStep:
        feature = attribute(self._values_BF, self._gradient_BF, self._columns) if mine else ""
        return BadStep(kind=kind, mine=mine, what=what, feature=feature)
