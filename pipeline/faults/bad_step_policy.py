"""Handles bad steps: stop, skip the batch, or roll back to the last checkpoint.

The verdict on a step is read after the next step, when the device has long reached it, so that the
host does not wait. It is read at once before a save, an evaluation or a log line.
"""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from pipeline.config.sections import FaultsConfig
from pipeline.data.batch import Batch
from pipeline.faults.attribution import DIVERGED
from pipeline.faults.batch_file import dump_batch
from pipeline.faults.finite_weights import REMEDY
from pipeline.faults.step_guard import BadStep, StepGuard, Verdict
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.training.hooks import Hook, Hooks
from pipeline.training.step import StepOutput


class BadStepPolicy(Hooks):
    """Handles bad steps found by the guard, then calls `hooks`, as late as verdicts are read.

    Args:
        folder: folder for bad batches.
        where: returns the origin of the batch of the last step, or of one that many steps before.
        roll_back: restores weights and optimizer from the last checkpoint, on every rank; returns
            False if there is none.
        hooks: those that use the verdict on a step.
    """

    def __init__(
        self,
        guard: StepGuard,
        config: FaultsConfig,
        world: World,
        tasks: list[str],
        folder: Path,
        where: Callable[[int], str],
        roll_back: Callable[[], bool],
        hooks: Sequence[Hook],
    ) -> None:
        super().__init__(hooks)
        self._guard = guard
        self._config = config
        self._world = world
        self._tasks = tasks
        self._folder = folder
        self._where = where
        self._roll_back = roll_back
        self._unread: deque[tuple[int, StepOutput, Verdict]] = deque()
        self.skipped = 0

    def needs_verdict(self, step: int) -> bool:
        # The step after a rollback trains the weights that it restores.
        rolls_back = "rollback" in (self._config.on_nonfinite, self._config.on_loss_spike)
        return rolls_back or super().needs_verdict(step)

    def after_step(self, step: int, output: StepOutput) -> None:
        """Read the verdict on the step before, and on this one if a hook needs it.

        Raises UserError on all ranks if the run must stop.
        """
        self._unread.append((step, output, self._guard.take_verdict()))
        unread = 0 if self.needs_verdict(step) else 1
        while len(self._unread) > unread:
            self._read(ago=len(self._unread) - 1)

    def after_segment(self, step: int) -> None:
        while self._unread:
            self._read(ago=1)  # the pipeline counts the last step as done by now
        super().after_segment(step)

    def _read(self, ago: int) -> None:
        """Read the oldest verdict, handle a bad step, and call the hooks."""
        step, output, verdict = self._unread.popleft()
        bad_step, self._guard.seconds = verdict.read()
        if bad_step is not None:
            output.mark_skipped()
            self._handle(step, output, bad_step, self._where(ago))
        super().after_step(step, output)

    def _handle(self, step: int, output: StepOutput, bad_step: BadStep, where: str) -> None:
        report, advice = self._first_report(self._report(step, output, bad_step, where))
        policy, field = self._config.on_nonfinite, "faults.on_nonfinite"
        if bad_step.kind == "spike":
            policy, field = self._config.on_loss_spike, "faults.on_loss_spike"
        if policy == "stop":
            raise UserError(f"{report}; {advice}")
        self.skipped += 1
        if self.skipped > self._config.max_skipped:
            raise UserError(
                f"{report}; {self.skipped} batches skipped, more than faults.max_skipped "
                f"{self._config.max_skipped}; {advice}"
            )
        done = "skipped"
        if policy == "rollback":
            if not self._roll_back():
                raise UserError(
                    f"{report}; no checkpoint to roll back to; set --checkpoint.every lower, or "
                    f"--{field} skip"
                )
            done = "skipped, weights restored from the last checkpoint"
        if self._world.is_first:
            count = f"{self.skipped} of at most {self._config.max_skipped}"
            line = f"{report}; {done} ({count})"
            print_line(plain_console(stderr=True), line)

    def _report(
        self, step: int, output: StepOutput, bad_step: BadStep, where: str
    ) -> tuple[str, str] | None:
        """What happened here and what to do, the batch kept; None if this rank is not at fault."""
        if not bad_step.mine:
            return None
        named = ", ".join(
            f"{task} {loss:.6g}"
            for task, loss in zip(self._tasks, output.losses_T.tolist(), strict=True)
            if bad_step.kind == "spike" or not math.isfinite(loss)
        )
        path = self._dump(step, output.batch, bad_step.what)
        what = f"{bad_step.what} on rank {self._world.rank} ({socket.gethostname()})"
        parts = [f"{what}: {named}" if named else what]
        parts += [bad_step.feature] if bad_step.feature else []
        parts += [f"batch: {where}", f"kept as {path}"]
        diverged = bad_step.feature == DIVERGED
        advice = REMEDY if diverged else f"look at these rows, or {REMEDY}"
        return f"step {step}: " + "; ".join(parts), advice

    def _first_report(self, report: tuple[str, str] | None) -> tuple[str, str]:
        """That of the first rank at fault, on every rank."""
        reports: list[tuple[str, str] | None] = [None] * self._world.size
        dist.all_gather_object(reports, report, group=self._world.control)
        return next(found for found in reports if found is not None)

    def on_error(self, step: int, batch: Batch, error: Exception) -> None:
        """Turn out of memory into a UserError that names the saved batch."""
        if not is_out_of_memory(error):
            super().on_error(step, batch, error)
            return
        path = self._dump(step, batch, f"out of memory: {error}")
        ids = {key: len(batch.sparse[key].values()) for key in batch.sparse.keys()}  # noqa: SIM118
        most = max(ids, key=lambda key: ids[key])
        raise UserError(
            f"step {step}: out of memory on rank {self._world.rank} ({socket.gethostname()}); "
            f"feature {most} has the most ids, {ids[most]}; batch: {self._where(0)}; kept as "
            f"{path}; lower --train.batch_size, or give tables more ranks"
        ) from error

    def _dump(self, step: int, batch: Batch, why: str) -> Path:
        rank = self._world.rank
        path = self._folder / f"step-{step:08d}-rank{rank}.pt"
        dump_batch(path, batch, {"step": step, "rank": rank, "why": why, "tasks": self._tasks})
        return path


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the allocator of the device or host ran out of memory."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
