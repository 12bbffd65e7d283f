"""Errors of the expected values of labels with limits, over all rows of all ranks.

Suffixes: B rows of a batch, T tasks, A labels with limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.features.config import LabelConfig
from pipeline.features.limits import integral, tasks_of


class AmountErrors:
    """Accumulates an evaluation's rows; `compute` is a collective.

    The observed value of a row is the middle of the range between the limits that it reached and
    did not reach, or the last limit: prepared data have no other.
    """

    def __init__(
        self, labels: Mapping[str, LabelConfig], tasks: Sequence[str], device: torch.device
    ) -> None:
        """Labels without limits, or of which a task is not among `tasks`, are left out."""
        found = {name: list(tasks_of(name, one)) for name, one in labels.items() if one.limits}
        self.names = [name for name, of_label in found.items() if set(of_label) <= set(tasks)]
        self._constant_A = torch.zeros(len(self.names), dtype=torch.float64, device=device)
        shape = len(tasks), len(self.names)
        self._weights_TA = torch.zeros(shape, dtype=torch.float64, device=device)
        for a, name in enumerate(self.names):
            self._constant_A[a], weights = integral(labels[name].limits or ())
            for task, weight in zip(found[name], weights, strict=True):
                self._weights_TA[tasks.index(task), a] = weight
        # Of rows, weights, expected and observed values, errors and their squares.
        self._sums_6A = torch.zeros(6, len(self.names), dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self, logits_BT: Tensor, labels_BT: Tensor, weights_B: Tensor) -> None:
        """Add a batch of this rank. Labels are NaN if missing; rows of weight 0 are ignored."""
        expected_BA = self._values(logits_BT.double().sigmoid())
        observed_BA = self._values(labels_BT.double().nan_to_num())
        is_known_BA = labels_BT.isnan().double() @ (self._weights_TA != 0).double() == 0
        weights_BA = weights_B.double()[:, None] * is_known_BA
        error_BA = expected_BA - observed_BA
        columns = [torch.ones_like(error_BA), expected_BA, observed_BA, error_BA.abs()]
        sums = [(weights_BA > 0).sum(0)]
        sums += [(weights_BA * column).sum(0) for column in (*columns, error_BA.square())]
        self._sums_6A += torch.stack([part.double() for part in sums])

    def _values(self, chances_BT: Tensor) -> Tensor:
        return self._constant_A + chances_BT @ self._weights_TA

    def compute(self) -> dict[str, dict[str, float]]:
        """Return {LABEL: {"rows", "expected", "observed", "mae", "rmse"}}, in the label's unit.

        "expected" and "observed" are means. Labels without a known row are left out.
        """
        sums_6A = self._sums_6A.clone()
        if dist.is_initialized():
            dist.all_reduce(sums_6A)
        results = {}
        for name, (rows, weight, *sums) in zip(self.names, sums_6A.T.tolist(), strict=True):
            if weight > 0:
                expected, observed, absolute, squared = (value / weight for value in sums)
                results[name] = {
                    "rows": int(rows),
                    "expected": expected,
                    "observed": observed,
                    "mae": absolute,
                    "rmse": squared**0.5,
                }
        return results
