"""Errors of expected values, against sums done row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.features.config import LabelConfig
from pipeline.metrics.amounts import AmountErrors
from tests.ranks import run_ranks

LABELS = {
    "watch": LabelConfig(limits=(2, 5, 9)),
    "like": LabelConfig(),
    "stay": LabelConfig(limits=(1,)),
    "untrained": LabelConfig(limits=(1, 2)),
}
TASKS = ["watch_9", "like", "stay_1", "watch_2", "watch_5", "untrained_1"]
LIMITS = (2.0, 5.0, 9.0)
ROWS = 60


def rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels with gaps, weights (0: padding), and values of 'watch'."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, len(TASKS), generator=generator)
    values = 14 * torch.rand(ROWS, generator=generator)
    limits = torch.tensor([9.0, 0.0, 4.0, 2.0, 5.0, 1.0])
    labels = (values[:, None] >= limits).float()
    labels[torch.rand(ROWS, generator=generator) < 0.2, 0] = torch.nan  # of 'watch' alone
    weights = torch.rand(ROWS, generator=generator) + 0.5
    weights[::7] = 0
    return logits, labels, weights, values


def computed(rank: int, size: int) -> Any:
    logits, labels, weights, _ = rows()
    errors = AmountErrors(LABELS, TASKS, torch.device("cpu"))
    for start in range(rank * 10, ROWS, size * 10):  # ranks take turns, ten rows each
        part = slice(start, start + 10)
        errors.update(logits[part], labels[part], weights[part])
    return errors.compute()


def test_errors_are_those_of_the_rows() -> None:
    logits, labels, weights, values = rows()
    chances = logits.double().sigmoid()[:, [3, 4, 0]]
    ends, found = [0.0, *LIMITS], []
    for n in range(ROWS):
        if weights[n] == 0 or labels[n, 0].isnan():
            continue
        reach = [1.0, *chances[n].tolist()]
        expected = sum(
            (ends[k + 1] - ends[k]) * (reach[k] + reach[k + 1]) / 2 for k in range(len(LIMITS))
        )
        below = max(end for end in ends if values[n] >= end)
        above = min([end for end in ends if end > below] or [below])
        found.append((float(weights[n]), expected, (below + above) / 2))
    total = sum(weight for weight, *_ in found)
    first, second = run_ranks(computed, 2)
    assert first == second
    assert [*first] == ["watch", "stay"]
    assert first["watch"] == pytest.approx(
        {
            "rows": len(found),
            "expected": sum(w * e for w, e, _ in found) / total,
            "observed": sum(w * o for w, _, o in found) / total,
            "mae": sum(w * abs(e - o) for w, e, o in found) / total,
            "rmse": (sum(w * (e - o) ** 2 for w, e, o in found) / total) ** 0.5,
        }
    )


def test_labels_without_a_known_row_have_no_errors() -> None:
    errors = AmountErrors(LABELS, TASKS, torch.device("cpu"))
    assert errors.compute() == {}
    errors.update(torch.zeros(2, 6), torch.full((2, 6), torch.nan), torch.ones(2))
    assert errors.compute() == {}
