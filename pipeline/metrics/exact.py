"""Exact metrics of an evaluation, over all rows of all ranks.

Suffixes: B rows of a batch, N all rows, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from pipeline.metrics.spec import METRICS
from pipeline.metrics.task_rows import NO_GROUP, TaskRows

TaskResults = dict[str, Any]
"""One task's entry in results.json.

The counts 'rows', 'positives', 'gauc_users' and 'gauc_left_out' (users with both classes, and with
one) and 'gauc_rows_without_user', and each metric of METRICS by name, None if undefined. Data
without a user column has neither the metrics of users nor their counts.
'oracle_NAME' only if every counted row has its true probability: the best expected value of any
model.
"""


class ExactMetrics:
    """Collects an evaluation's rows; `compute` is a collective and returns the same on all ranks.

    A rank may have fewer rows than its peers, or none. Memory: 5 bytes per row and task (9 with an
    oracle) and 8 per row (12 with weights); during `compute` every rank has the rows of all ranks.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        device: torch.device,
        *,
        no_user: int | None = None,
        has_users: bool = True,
        weighted: bool = False,
    ) -> None:
        """
        Args:
            no_user: user of rows without a user.
            has_users: whether to compute the metrics of users.
            weighted: whether rows have weights.
        """
        self._no_user = no_user
        self._metrics = [metric for metric in METRICS if has_users or not metric.of_users]
        self._has_users = has_users
        self._weighted = weighted
        self._tasks = tuple(tasks)
        self._device = device
        self._sums = _Sums(len(tasks)).to(device)
        self._rows = _Rows().to(device)

    @torch.no_grad()
    def update(
        self,
        logits_BT: Tensor,
        labels_BT: Tensor,
        weights_B: Tensor,
        users_B: Tensor,
        oracle_BT: Tensor | None = None,
    ) -> None:
        """Add a batch of this rank.

        Args:
            logits_BT: float, any precision.
            labels_BT: 0 or 1, NaN if missing.
            weights_B: rows with weight 0 (such as padding) are ignored; others count once, or by
                their weight if `weighted`.
            users_B: int64, the groups of GAUC.
            oracle_BT: true probabilities, NaN for tasks without; for all batches or for none.
        """
        weights_B = weights_B.to(self._device, torch.float32)
        keep_B = weights_B > 0
        logits_BT = logits_BT.to(self._device, torch.float32)[keep_B]
        labels_BT = labels_BT.to(self._device)[keep_B]
        users_B = users_B.to(self._device)[keep_B]
        if oracle_BT is not None:
            oracle_BT = oracle_BT.to(self._device, torch.float32)[keep_B]
        kept_B = weights_B[keep_B] if self._weighted else None
        self._sums.update(logits_BT, labels_BT, oracle_BT, kept_B)
        self._rows.update(logits_BT, labels_BT, users_B, oracle_BT, kept_B)

    @torch.no_grad()
    def compute(self) -> dict[str, TaskResults]:
        """Return results by task, over all ranks' rows. Collective."""
        # A rank without rows must still send its state, or its peers would wait. The sums show
        # whether there is an oracle.
        none_0T = torch.zeros(0, len(self._tasks), device=self._device)
        none_0 = torch.zeros(0, dtype=torch.int64, device=self._device)
        self._sums.update(none_0T, none_0T, None)
        sums = self._sums.compute()
        has_oracle = any(sums["oracle_rows"])
        weights_0 = torch.zeros(0, device=self._device) if self._weighted else None
        self._rows.update(none_0T, none_0T, none_0, none_0T if has_oracle else None, weights_0)
        scores_NT, labels_NT, users_N, oracle_NT, weights_N = self._rows.compute()
        # torchmetrics squeezes tensors with one element.
        scores_NT, labels_NT = (x.view(-1, len(self._tasks)) for x in (scores_NT, labels_NT))
        users_N = users_N.view(-1)
        oracle_NT = None if oracle_NT is None else oracle_NT.view(-1, len(self._tasks))
        groups_N = torch.unique(users_N, return_inverse=True)[1]
        if self._no_user is not None:
            groups_N.masked_fill_(users_N == self._no_user, NO_GROUP)

        results = {}
        for t, task in enumerate(self._tasks):
            known_N = labels_NT[:, t] != _MISSING
            rows = TaskRows(
                rows=int(sums["rows"][t]),
                positives=int(sums["positives"][t]),
                weight=sums["weight"][t],
                positive_weight=sums["positive_weight"][t],
                loss=sums["loss"][t],
                predicted=sums["predicted"][t],
                scores_N=scores_NT[known_N, t],
                labels_N=labels_NT[known_N, t],
                users_N=groups_N[known_N],
                weights_N=None if weights_N is None else weights_N.view(-1)[known_N],
            )
            results[task] = self._results(rows)
            if oracle_NT is not None and sums["oracle_rows"][t] == rows.rows > 0:
                oracle_N = oracle_NT[known_N, t]
                predicted_N = oracle_N.double()
                if rows.weights_N is not None:
                    predicted_N = predicted_N * rows.weights_N
                best = replace(
                    rows,
                    loss=sums["oracle_loss"][t],
                    predicted=float(predicted_N.sum()),
                    scores_N=oracle_N,
                    scores_are_logits=False,
                )
                results[task] |= {
                    f"oracle_{metric.name}": metric.value(best)
                    for metric in self._metrics
                    if metric.oracle
                }
        return results

    def _results(self, rows: TaskRows) -> TaskResults:
        found = {
            "rows": rows.rows,
            "positives": rows.positives,
            **{metric.name: metric.value(rows) for metric in self._metrics},
        }
        if not self._has_users:
            return found
        users = rows.user_auc
        return found | {
            "gauc_users": users.users,
            "gauc_left_out": users.left_out,
            "gauc_rows_without_user": users.rows_without_user,
        }


_MISSING = -1  # in labels_NT, which is int8


class _Sums(Metric):
    """Sums over rows, each [T], as in TaskSums."""

    rows: Tensor
    positives: Tensor
    weight: Tensor
    positive_weight: Tensor
    loss: Tensor
    predicted: Tensor
    oracle_rows: Tensor
    oracle_loss: Tensor

    def __init__(self, num_tasks: int) -> None:
        super().__init__(dist_sync_fn=_gather)
        for name in self.__annotations__:
            zeros_T = torch.zeros(num_tasks, dtype=torch.float64)
            self.add_state(name, zeros_T, dist_reduce_fx="sum")

    def update(
        self,
        logits_BT: Tensor,
        labels_BT: Tensor,
        oracle_BT: Tensor | None,
        weights_B: Tensor | None = None,
    ) -> None:
        weights_B1 = 1.0 if weights_B is None else weights_B.double()[:, None]
        known_BT = ~labels_BT.isnan()
        logits_BT = logits_BT.double()
        targets_BT = labels_BT.double()
        loss_BT = binary_cross_entropy_with_logits(logits_BT, targets_BT, reduction="none")
        self.rows += known_BT.sum(0)
        self.positives += targets_BT.where(known_BT, 0).sum(0)
        self.weight += (known_BT * weights_B1).sum(0)
        self.positive_weight += (targets_BT * weights_B1).where(known_BT, 0).sum(0)
        self.loss += (loss_BT * weights_B1).where(known_BT, 0).sum(0)
        self.predicted += (logits_BT.sigmoid() * weights_B1).where(known_BT, 0).sum(0)
        if oracle_BT is not None:
            known_BT = known_BT & ~oracle_BT.isnan()
            truth_BT = oracle_BT.double()
            loss_BT = -torch.xlogy(targets_BT, truth_BT) - torch.xlogy(1 - targets_BT, 1 - truth_BT)
            self.oracle_rows += known_BT.sum(0)
            self.oracle_loss += (loss_BT * weights_B1).where(known_BT, 0).sum(0)

    def compute(self) -> dict[str, list[float]]:
        return {name: getattr(self, name).tolist() for name in _Sums.__annotations__}


class _Rows(Metric):
    """Stores all rows, because ranking metrics of ranks cannot be combined."""

    scores: list[Tensor]
    labels: list[Tensor]
    users: list[Tensor]
    oracle: list[Tensor]
    weights: list[Tensor]

    def __init__(self) -> None:
        super().__init__(dist_sync_fn=_gather)
        for name in self.__annotations__:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        scores_BT: Tensor,
        labels_BT: Tensor,
        users_B: Tensor,
        oracle_BT: Tensor | None,
        weights_B: Tensor | None,
    ) -> None:
        self.scores.append(scores_BT)
        self.labels.append(labels_BT.nan_to_num(_MISSING).to(torch.int8))
        self.users.append(users_B)
        if oracle_BT is not None:
            self.oracle.append(oracle_BT)
        if weights_B is not None:
            self.weights.append(weights_B)

    def compute(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        scores_NT, labels_NT, users_N = map(dim_zero_cat, (self.scores, self.labels, self.users))
        oracle_NT = dim_zero_cat(self.oracle) if len(self.oracle) else None
        assert oracle_NT is None or len(oracle_NT) == len(users_N), "an oracle with every batch"
        weights_N = dim_zero_cat(self.weights) if len(self.weights) else None
        return scores_NT, labels_NT, users_N, oracle_NT, weights_N


def _gather(rows_N: Tensor, group: dist.ProcessGroup | None = None) -> list[Tensor]:
    """Gather the rows of all ranks, in the order of ranks; their numbers may differ.

    With this torch, torchmetrics' function warns if they differ.
    """
    world_size = dist.get_world_size(group)
    length = torch.tensor([len(rows_N)], device=rows_N.device)
    lengths = [torch.zeros_like(length) for _ in range(world_size)]
    dist.all_gather(lengths, length, group=group)
    counts = [int(length) for length in lengths]
    padded = rows_N.new_zeros(max(counts), *rows_N.shape[1:])
    padded[: len(rows_N)] = rows_N
    gathered = [torch.empty_like(padded) for _ in range(world_size)]
    dist.all_gather(gathered, padded, group=group)
    return [rows[:count] for rows, count in zip(gathered, counts, strict=True)]
