"""Figures over the last samples of training: TorchRec's RecMetrics, all tasks fused.

Suffixes: B rows of a batch, T tasks, N rows held by the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchrec.metrics.auc import AUCMetric, AUCMetricComputation
from torchrec.metrics.calibration import CalibrationMetric
from torchrec.metrics.metrics_config import RecComputeMode, RecTaskInfo
from torchrec.metrics.metrics_namespace import (
    MetricName,
    MetricNameBase,
    MetricNamespaceBase,
    MetricPrefix,
    compose_metric_key,
)
from torchrec.metrics.ne import NEMetric, NEMetricComputation
from torchrec.metrics.rec_metric import MetricComputationReport, RecMetric

from pipeline.metrics.grouped_auc import grouped_auc


class WindowedMetrics:
    """NE, log loss (nats), calibration and AUC of every task over a sliding window of samples.

    `update` only keeps what it is given: a RecMetric costs about 0.3 ms a call whatever the batch,
    so it is called for several steps together. `compute` is a collective and answers the same on
    all ranks. A checkpoint has the window's rows (`state_dict`); metrics are computed from them
    anew on any number of ranks (`load_state_dict`).

    `since_log_2T` is for whoever speaks of losses: sums of losses and counts of known labels of
    this rank's steps since it last spoke, which belong to a checkpoint for the same reason.
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
    ) -> None:
        """Args:
        batch_size: rows a step of one rank, the same for all steps and ranks.
        window: samples over all ranks; taken as whole steps, at least one. NE, log loss and
            calibration leave the window an eighth at a time.
        """
        steps = max(1, round(window / (batch_size * world_size)))
        self._tasks = tuple(tasks)
        self._window = steps
        self._together = max(1, steps // 8)
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._since_auc = 0  # steps
        self._held_by_auc = 0  # steps
        self._batch_size, self._ranks, self._rank = batch_size, world_size, rank
        self._device = device
        self.since_log_2T = torch.zeros(2, len(tasks), device=device)
        infos = [RecTaskInfo(name=task) for task in tasks]

        def metric(kind: type[RecMetric], **options: Any) -> RecMetric:
            made = kind(
                world_size=world_size,
                my_rank=rank,
                batch_size=batch_size,
                tasks=infos,
                compute_mode=RecComputeMode.FUSED_TASKS_COMPUTATION,
                window_size=steps * batch_size * world_size,
                compute_on_all_ranks=True,
                dist_sync_fn=_gather,
                **options,
            )
            return made.to(device)

        self._sums = [metric(_NE, include_logloss=True), metric(CalibrationMetric)]
        self._auc = metric(_AUC)

    def update(self, logits_BT: Tensor, labels_BT: Tensor, weights_B: Tensor) -> None:
        """A step of this rank. Labels are NaN where missing; weights are 1, or 0 for padding."""
        self._pending.append((logits_BT.detach(), labels_BT, weights_B))
        self._since_auc += 1
        if len(self._pending) == self._together:
            self._flush()

    @torch.no_grad()
    def _flush(self) -> None:
        if not self._pending:
            return
        columns = zip(*self._pending, strict=True)
        logits_BT, labels_BT, weights_B = (torch.cat(column) for column in columns)
        self._pending.clear()
        labels_TB = labels_BT.T.where(weights_B > 0, torch.nan)
        self._count(logits_BT.T.float().sigmoid(), labels_TB)

    @torch.no_grad()
    def _count(self, predictions_TB: Tensor, labels_TB: Tensor) -> None:
        if not labels_TB.numel():
            return
        known_TB = ~labels_TB.isnan()
        inputs = {
            "predictions": predictions_TB.contiguous(),
            "labels": labels_TB.where(known_TB, 0).contiguous(),
            "weights": known_TB.float(),
        }
        for metric in (*self._sums, self._auc):
            metric.update(**inputs)

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """The window as tensors on the host, and its counters.

        [T, N]: predictions (after the sigmoid), and labels (-1: not counted), the oldest first,
        'rows' of them, as many on every rank.
        """
        self._flush()
        counts = {"since_auc": self._since_auc, "held_by_auc": self._held_by_auc}
        found = self._auc.get_submodule("_metrics_computations.0")
        counts["rows"] = rows = found._num_samples
        tensors = self.empty(counts)
        if rows:
            predictions_TN, labels_TN, weights_TN = (
                torch.cat(part, dim=-1) for part in (found.predictions, found.labels, found.weights)
            )
            tensors["predictions"].copy_(predictions_TN)
            tensors["labels"].copy_(labels_TN.where(weights_TN > 0, -1))
        tensors["since_log"].copy_(self.since_log_2T)
        return tensors, counts

    def empty(self, counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Empty tensors shaped as those of a `state_dict` with these counters."""
        shape = len(self._tasks), counts["rows"]
        return {
            "predictions": torch.zeros(shape),
            "labels": torch.zeros(shape, dtype=torch.int8),
            "since_log": torch.zeros(2, len(self._tasks)),
        }

    def load_state_dict(
        self, saved: Sequence[Mapping[str, Tensor]], counts: Mapping[str, int]
    ) -> None:
        """Fill an empty window from the tensors of all saved ranks, in the order of ranks.

        With the same number of ranks each gets its rows back; else rows are split anew, by age.
        """
        since_log = torch.stack([part["since_log"] for part in saved]).to(self._device)
        same = len(saved) == self._ranks
        if same:
            mine, self.since_log_2T = [saved[self._rank]], since_log[self._rank]
        else:
            mine = list(saved)
            self.since_log_2T = since_log.sum(0) * (self._rank == 0)

        def rows_TN(name: str) -> Tensor:
            # [T, N, W]: rows of one age beside each other.
            held_TN = torch.stack([part[name] for part in mine], 2).flatten(1)
            if same:
                return held_TN
            extra = held_TN.shape[1] % self._ranks
            return held_TN[:, extra:][:, self._rank :: self._ranks]

        predictions_TN, labels_TN = (
            rows_TN(name).to(self._device) for name in ("predictions", "labels")
        )
        labels_TN = labels_TN.float().where(labels_TN >= 0, torch.nan)
        rows = labels_TN.shape[1]
        piece = self._together * self._batch_size
        # From the newest backwards in whole pieces, as in an undisturbed run.
        ends = [*range(rows % piece, rows, piece), rows]
        for begin, end in pairwise([0, *ends]):
            self._count(predictions_TN[:, begin:end], labels_TN[:, begin:end])
        self._since_auc, self._held_by_auc = counts["since_auc"], counts["held_by_auc"]

    @torch.no_grad()
    def compute(self) -> dict[str, float]:
        """'TASK/ne', 'TASK/log_loss', 'TASK/calibration' and at times 'TASK/auc', of all ranks.

        The AUC sorts the window, so it comes only when as many steps are new as the last one
        held: its cost a step stays the same however often this is called. A figure that the
        window does not define (no positives yet, say) is left out.
        """
        self._flush()
        metrics = list(self._sums)
        with_auc = self._since_auc > 0 and self._since_auc >= self._held_by_auc
        if with_auc:
            metrics.append(self._auc)
            self._held_by_auc = min(self._held_by_auc + self._since_auc, self._window)
            self._since_auc = 0
        found: dict[str, Tensor] = {}
        for metric in metrics:
            found |= metric.compute()

        def value(namespace: MetricNamespaceBase, task: str, name: MetricNameBase) -> float:
            return float(found[compose_metric_key(namespace, task, name, MetricPrefix.WINDOW)])

        figures = {}
        for task in self._tasks:
            rows = value(_NE._namespace, task, MetricName.SUM_WEIGHTS)
            positives = value(_NE._namespace, task, MetricName.NUM_POSITIVE_SAMPLES)
            if rows:  # TorchRec's log loss is in bits
                bits = value(_NE._namespace, task, MetricName.LOG_LOSS)
                figures[f"{task}/log_loss"] = bits * math.log(2)
            if positives:
                figures[f"{task}/calibration"] = value(
                    CalibrationMetric._namespace, task, MetricName.CALIBRATION
                )
            if 0 < positives < rows:
                figures[f"{task}/ne"] = value(_NE._namespace, task, MetricName.NE)
            if with_auc:
                figures[f"{task}/auc"] = value(_AUC._namespace, task, MetricName.AUC)
        return {name: figure for name, figure in figures.items() if math.isfinite(figure)}


def _gather(state: Tensor, group: dist.ProcessGroup | None = None) -> list[Tensor]:
    """Every rank's state: one collective; torchmetrics' own takes three to learn the sizes."""
    states = [torch.empty_like(state) for _ in range(dist.get_world_size(group))]
    dist.all_gather(states, state.contiguous(), group=group)
    return states


def _report(name: MetricNameBase, value_T: Tensor) -> MetricComputationReport:
    return MetricComputationReport(name=name, metric_prefix=MetricPrefix.WINDOW, value=value_T)


class _NEComputation(NEMetricComputation):
    """Reports the counts, too: they tell which figures are defined."""

    def _compute(self) -> list[MetricComputationReport]:
        return [
            *super()._compute(),
            _report(MetricName.SUM_WEIGHTS, self.get_window_state("weighted_num_samples")),
            _report(MetricName.NUM_POSITIVE_SAMPLES, self.get_window_state("pos_labels")),
        ]


class _NE(NEMetric):
    _computation_class = _NEComputation


class _AUCComputation(AUCMetricComputation):
    """TorchRec's window, our area: one sort for all tasks, ties count half, one class is NaN.

    TorchRec's own sorts floats task by task, leaves ties in any order and calls one class 0.5.
    """

    def _compute(self) -> list[MetricComputationReport]:
        predictions_TN = torch.cat(self.predictions, dim=-1)
        labels_TN = torch.cat(self.labels, dim=-1)
        known_TN = torch.cat(self.weights, dim=-1) > 0
        num_tasks = len(predictions_TN)
        tasks_T1 = torch.arange(num_tasks, device=known_TN.device)[:, None]
        groups_TN = tasks_T1.where(known_TN, num_tasks)  # the last group: what does not count
        result = grouped_auc(
            predictions_TN.flatten(), labels_TN.flatten(), groups_TN.flatten(), num_tasks + 1
        )
        return [_report(MetricName.AUC, result.auc_G[:num_tasks])]


class _AUC(AUCMetric):
    _computation_class = _AUCComputation
