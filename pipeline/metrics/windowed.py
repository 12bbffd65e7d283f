"""Metrics of METRICS over the last samples of training.

Suffixes: B rows of a batch, T tasks, N rows of the window, S fields of TaskSums.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.metrics.spec import METRICS
from pipeline.metrics.task_rows import TaskRows, TaskSums

_MISSING = -1  # in labels, which are int8
_EPS = 1e-12
"""Distance to 0 and 1 to which the loss clamps probabilities, because float32 rounds them."""


class _Step(NamedTuple):
    predictions_TB: Tensor
    """float32, after the sigmoid."""
    labels_TB: Tensor
    weights_1B: Tensor | None
    """float32; None: all 1."""
    sums_ST: Tensor
    """float64."""


class WindowedMetrics:
    """Metrics of every task over a sliding window of samples, with frequency `MetricSpec.window`.

    `update` only stores its arguments: several steps are processed at a time, at almost the cost of
    one. `compute` is a collective and returns the same on all ranks. Checkpoints contain the
    window's rows (`state_dict`); any number of ranks can resume from them (`load_state_dict`).

    `since_log_2T`, for logging losses: sums of losses and counts of known labels of this rank's
    steps since the last log line. Checkpoints contain them, too.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        batch_size: int,
        world_size: int,
        rank: int,
        device: torch.device,
        window: int,
        weighted: bool = False,
    ) -> None:
        """Args:
        batch_size: rows per step and rank, the same for all steps and ranks.
        window: samples over all ranks; rounded to whole steps, at least one.
        weighted: whether rows have weights.
        """
        self._tasks = tuple(tasks)
        self._batch_size, self._world_size, self._rank = batch_size, world_size, rank
        self._device = device
        self._weighted = weighted
        steps = max(1, round(window / (batch_size * world_size)))
        self._steps: deque[_Step] = deque(maxlen=steps)
        self._together = max(1, steps // 8)
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._since_auc = 0  # steps since compute() last read the rows
        self._held_by_auc = 0  # steps in the window then
        self.since_log_2T = torch.zeros(2, len(tasks), device=device)

    def update(self, logits_BT: Tensor, labels_BT: Tensor, weights_B: Tensor) -> None:
        """Add a step of this rank. Labels are NaN if missing; weights are 0 for padding, and others
        count only if `weighted`."""
        self._pending.append((logits_BT.detach(), labels_BT, weights_B))
        self._since_auc += 1
        if len(self._pending) == self._together:
            self._flush()

    @torch.no_grad()
    def compute(self, *, last: bool = False) -> dict[str, float]:
        """'TASK/METRIC' of all ranks' rows, without those that the window does not define.

        Metrics 'once a window' gather all rows, and most sort them. They are computed only when as
        many steps are new as they last used, so that their cost per step does not depend on the
        number of calls; and for the `last` line of a run, which does not change when they are
        computed next.
        """
        self._flush()
        if not self._steps:
            return {}
        sums_ST = torch.stack([step.sums_ST for step in self._steps]).sum(0)
        if self._world_size > 1:
            dist.all_reduce(sums_ST)
        if not self._weighted:
            sums_ST = sums_ST[[0, 1, 0, 1, 2, 3]]
        sums = [
            TaskSums(
                rows=int(rows),
                positives=int(positives),
                weight=weight,
                positive_weight=positive_weight,
                loss=loss,
                predicted=predicted,
            )
            for rows, positives, weight, positive_weight, loss, predicted in sums_ST.T.tolist()
        ]
        values = self._values("every line", cast(list[TaskRows], sums))
        if 0 < self._since_auc >= self._held_by_auc:
            self._since_auc, self._held_by_auc = 0, len(self._steps)
            last = True
        if last:
            values |= self._values("once a window", self._task_rows(sums))
        return values

    def _values(self, window: str, tasks: Sequence[TaskRows]) -> dict[str, float]:
        metrics = [metric for metric in METRICS if metric.window == window]
        values = {
            f"{task}/{metric.name}": metric.value(rows)
            for task, rows in zip(self._tasks, tasks, strict=True)
            for metric in metrics
        }
        return {name: value for name, value in values.items() if value is not None}

    def _task_rows(self, sums: Sequence[TaskSums]) -> list[TaskRows]:
        """Return every task's known rows of all ranks. Collective."""
        *mine, weights_1N = self._rows()
        predictions_TN, labels_TN = map(self._gather, mine)
        weights_1N = None if weights_1N is None else self._gather(weights_1N)
        found = []
        for task, predictions_N, labels_N in zip(sums, predictions_TN, labels_TN, strict=True):
            known_N = labels_N != _MISSING
            rows = TaskRows(
                **vars(task),
                scores_N=predictions_N[known_N],
                labels_N=labels_N[known_N],
                users_N=torch.empty(0, dtype=torch.int64, device=self._device),
                weights_N=None if weights_1N is None else weights_1N[0, known_N],
                scores_are_logits=False,
            )
            found.append(rows)
        return found

    def _rows(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return this rank's predictions and labels, [T, N], and weights [1, N], oldest first."""
        predictions, labels, weights, _ = zip(*self._steps, strict=True)
        weights_1N = torch.cat(weights, -1) if self._weighted else None
        return torch.cat(predictions, -1), torch.cat(labels, -1), weights_1N

    def _gather(self, rows_TN: Tensor) -> Tensor:
        if self._world_size == 1:
            return rows_TN
        parts = [torch.empty_like(rows_TN) for _ in range(self._world_size)]
        dist.all_gather(parts, rows_TN)
        return torch.cat(parts, -1)

    @torch.no_grad()
    def _flush(self) -> None:
        if not self._pending:
            return
        columns = zip(*self._pending, strict=True)
        logits_NT, labels_NT, weights_N = (torch.cat(column) for column in columns)
        self._pending.clear()
        labels_TN = labels_NT.T.where(weights_N > 0, torch.nan).nan_to_num(_MISSING)
        weights_1N = weights_N.float()[None] if self._weighted else None
        predictions_TN = logits_NT.T.float().sigmoid().contiguous()
        self._append(predictions_TN, labels_TN.to(torch.int8), weights_1N)

    def _append(self, predictions_TN: Tensor, labels_TN: Tensor, weights_1N: Tensor | None) -> None:
        """Split rows into steps; an incomplete step is the oldest."""
        chances_TN = predictions_TN.double()
        loss_TN = -chances_TN.where(labels_TN == 1, 1 - chances_TN).clamp(_EPS, 1 - _EPS).log()
        ones_TN = torch.ones_like(loss_TN)
        summed = [ones_TN, labels_TN, loss_TN, chances_TN]  # as TaskSums, if all weights are 1
        if weights_1N is not None:
            summed = [*summed[:2], *(part * weights_1N.double() for part in summed)]
        parts_STN = torch.stack([part.where(labels_TN != _MISSING, 0) for part in summed])
        whole, rest = divmod(labels_TN.shape[1], self._batch_size)
        sizes = [rest] * (rest > 0) + [self._batch_size] * whole
        batches = (torch.split(rows, sizes, -1) for rows in (predictions_TN, labels_TN, parts_STN))
        weights: Sequence[Tensor | None] = [None] * len(sizes)
        if weights_1N is not None:
            weights = torch.split(weights_1N, sizes, -1)
        for predictions_TB, labels_TB, parts_STB, weights_1B in zip(*batches, weights, strict=True):
            self._steps.append(_Step(predictions_TB, labels_TB, weights_1B, parts_STB.sum(-1)))

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Return the window as tensors on the host, and its counters.

        [T, N]: predictions (after the sigmoid) and labels (-1: missing), oldest first; N is 'rows',
        equal on every rank. [1, N]: weights, if rows have some.
        """
        self._flush()
        counts = {
            "since_auc": self._since_auc,
            "held_by_auc": self._held_by_auc,
            "rows": sum(step.labels_TB.shape[1] for step in self._steps),
        }
        tensors = self.empty(counts)
        if self._steps:
            predictions_TN, labels_TN, weights_1N = self._rows()
            tensors["predictions"].copy_(predictions_TN)
            tensors["labels"].copy_(labels_TN)
            if weights_1N is not None:
                tensors["weights"].copy_(weights_1N)
        tensors["since_log"].copy_(self.since_log_2T)
        return tensors, counts

    def empty(self, counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Return empty tensors with the shapes of a `state_dict` with these counters."""
        shape = len(self._tasks), counts["rows"]
        weights = {"weights": torch.zeros(1, counts["rows"])} if self._weighted else {}
        return {
            "predictions": torch.zeros(shape),
            "labels": torch.zeros(shape, dtype=torch.int8),
            "since_log": torch.zeros(2, len(self._tasks)),
            **weights,
        }

    def load_state_dict(
        self, saved: Sequence[Mapping[str, Tensor]], counts: Mapping[str, int]
    ) -> None:
        """Fill an empty window from the tensors of all saved ranks, in the order of ranks.

        With the same number of ranks each gets its own rows; else rows are redistributed by age.
        """
        since_log = torch.stack([part["since_log"] for part in saved]).to(self._device)
        same = len(saved) == self._world_size
        if same:
            mine, self.since_log_2T = [saved[self._rank]], since_log[self._rank]
        else:
            mine = list(saved)
            self.since_log_2T = since_log.sum(0) * (self._rank == 0)

        def rows_TN(name: str) -> Tensor:
            # [T, N, W]: rows of equal age are adjacent.
            found_TN = torch.stack([part[name] for part in mine], 2).flatten(1)
            if not same:
                extra = found_TN.shape[1] % self._world_size
                found_TN = found_TN[:, extra:][:, self._rank :: self._world_size]
            return found_TN.to(self._device).contiguous()

        weights_1N = rows_TN("weights") if self._weighted else None
        self._append(rows_TN("predictions"), rows_TN("labels"), weights_1N)
        self._since_auc, self._held_by_auc = counts["since_auc"], counts["held_by_auc"]
