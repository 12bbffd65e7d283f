"""Logs the progress of training: loss, learning rates, speed and windowed metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed as dist

from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.world import World
from pipeline.tracking.tracker import Tracker
from pipeline.training.hooks import Hook
from pipeline.training.optim.schedule import Schedule
from pipeline.training.step import StepOutput


class Monitor(Hook):
    """Logs every `log_every` steps, after the last one, and evaluations, on rank 0."""

    def __init__(
        self,
        tracker: Tracker,
        windowed: WindowedMetrics,
        tasks: Sequence[str],
        world: World,
        *,
        batch_size: int,
        log_every: int,
        last: int,
        schedule: Schedule,
        rates: dict[str, float],
        log_task_weights: bool = False,
    ) -> None:
        self._tracker = tracker
        self._windowed = windowed
        self._tasks = tasks
        self._world = world
        self._batch_size = batch_size
        self._log_every = log_every
        self._last = last
        self._schedule = schedule
        self._rates = rates
        self._log_task_weights = log_task_weights
        self._start: float | None = None
        self._timed = 0
        self._unlogged = 0

    def before_step(self, step: int) -> None:
        if self._start is None:
            self._start = time.perf_counter()
            self._timed = 0

    def after_segment(self, step: int) -> None:
        """Exclude evaluations and saves from the speed."""
        self._start = None

    def after_evaluation(
        self, step: int, results: Mapping[str, Mapping[str, Any]], health: dict[str, Any]
    ) -> None:
        self._tracker.log_results(step, results, split="val")

    def needs_verdict(self, step: int) -> bool:
        return step % self._log_every == 0 or step == self._last

    def after_step(self, step: int, output: StepOutput) -> None:
        if output.skipped:
            return
        assert self._start is not None
        batch = output.batch
        # The loss of a step divides by its rows; the log shows the mean over known labels.
        sums_2T = self._windowed.since_log_2T
        sums_2T[0] += output.losses_T * len(batch.weights)
        sums_2T[1] += (~batch.labels.isnan() * output.row_weights_B1).sum(0)
        self._timed += 1
        self._windowed.update(output.logits_BT, batch.labels, batch.weights)
        self._unlogged += 1
        if not self.needs_verdict(step):
            return
        speed = self._timed * self._batch_size / (time.perf_counter() - self._start)
        values: dict[str, float] = {}
        if self._log_task_weights and output.task_weights_T is not None:
            weights = zip(self._tasks, output.task_weights_T.tolist(), strict=True)
            values |= {f"weight/{task}": weight for task, weight in weights}
        loss = self._log(step, {**values, "samples_per_s": speed}, last=step == self._last)
        self._tracker.progress(step, samples_per_s=speed, loss=loss)
        self._start, self._timed = time.perf_counter(), 0

    def after_training(self, step: int) -> None:
        """Log the steps since the last line of a run that ended early."""
        if self._unlogged:
            self._log(step, {}, last=True)

    def _log(self, step: int, values: Mapping[str, float], *, last: bool) -> float:
        """Log losses, `values`, rates and windowed metrics; returns the total loss. Collective."""
        sums_2T = self._windowed.since_log_2T
        dist.all_reduce(sums_2T)
        means = (sums_2T[0] / sums_2T[1].clamp(min=1)).tolist()
        logged = {f"loss/{task}": mean for task, mean in zip(self._tasks, means, strict=True)}
        logged["loss/total"] = sum(means)
        logged |= values
        scale = self._schedule.last
        logged |= {f"lr/{name}": peak * scale for name, peak in self._rates.items()}
        logged |= self._windowed.compute(last=last)
        self._tracker.log(step, logged, kind="train")
        sums_2T.zero_()
        self._unlogged = 0
        return logged["loss/total"]
