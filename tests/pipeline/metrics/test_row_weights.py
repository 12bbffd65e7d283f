"""Metrics of weighted rows are scikit-learn's with `sample_weight`, exact and in a window."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from pipeline.metrics.exact import ExactMetrics
from pipeline.metrics.windowed import WindowedMetrics
from tests.pipeline.metrics.test_exact import TASKS, Batch, batches, sample
from tests.ranks import run_ranks


def weighted_sample() -> Batch:
    """Weights from 0 to 8, one in ten 0; the first user's rows have one label."""
    logits, labels, weights, users, oracle = sample()
    generator = torch.Generator().manual_seed(1)
    weights = weights * torch.rand(len(weights), generator=generator).mul(8).exp2() / 32
    return logits, labels, weights, users, oracle


def metrics_of(data: Batch) -> dict[str, Any]:
    metrics = ExactMetrics(TASKS, torch.device("cpu"), weighted=True)
    for batch in batches(data, 512):
        metrics.update(*batch)
    return metrics.compute()


def metrics_of_a_rank(rank: int, size: int, data: Batch) -> dict[str, Any]:
    logits, labels, weights, users, oracle = data
    assert oracle is not None
    return metrics_of(
        (
            logits[rank::size],
            labels[rank::size],
            weights[rank::size],
            users[rank::size],
            oracle[rank::size],
        )
    )


def gauc(z: np.ndarray, y: np.ndarray, w: np.ndarray, users: np.ndarray) -> float:
    total = weight = 0.0
    for user in np.unique(users):
        mine = users == user
        if len(np.unique(y[mine])) == 2:
            auc = roc_auc_score(y[mine], z[mine], sample_weight=w[mine])
            total += w[mine].sum() * auc
            weight += w[mine].sum()
    return total / weight


def expected(data: Batch) -> dict[str, dict[str, float]]:
    logits, labels, weights, users, oracle = data
    assert oracle is not None
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for t, task in enumerate(TASKS):
        keep = (weights > 0) & ~labels[:, t].isnan()
        columns = (logits[:, t], labels[:, t], weights, users, oracle[:, t])
        z, y, w, u, truth = (column[keep].numpy() for column in columns)
        w, truth = w.astype(np.float64), truth.astype(np.float64)
        p = 1 / (1 + np.exp(-z.astype(np.float64)))
        rate = np.average(y, weights=w)
        entropy = log_loss(y, np.full(len(y), rate), sample_weight=w)
        found[task] = {
            "rows": len(y),
            "positives": y.sum(),
            "auc": roc_auc_score(y, z, sample_weight=w),
            "gauc": gauc(z, y, w, u),
            "log_loss": log_loss(y, p, sample_weight=w),
            "ne": log_loss(y, p, sample_weight=w) / entropy,
            "calibration": (w * p).sum() / (w * y).sum(),
        }
        if not np.isnan(truth).any():
            found[task] |= {
                "oracle_auc": roc_auc_score(y, truth, sample_weight=w),
                "oracle_gauc": gauc(truth, y, w, u),
                "oracle_ne": log_loss(y, truth, sample_weight=w) / entropy,
            }
    return found


def test_exact_metrics_agree_with_scikit_learn() -> None:
    data = weighted_sample()
    results = metrics_of(data)
    for task, metrics in expected(data).items():
        found = {name: results[task][name] for name in metrics}
        assert found == pytest.approx(metrics, rel=1e-9)


def test_ranks_agree_and_the_order_of_rows_does_not_matter() -> None:
    data = weighted_sample()
    whole = metrics_of(data)
    one, other = run_ranks(metrics_of_a_rank, 2, data)
    assert one == other
    for task, metrics in whole.items():
        assert one[task] == pytest.approx(metrics, rel=1e-12)
        for name in ("auc", "gauc"):
            assert one[task][name] == metrics[name]


def test_a_weight_of_2_is_a_row_twice() -> None:
    logits, labels, weights, users, oracle = sample()
    assert oracle is not None
    twice = torch.arange(len(weights)).repeat_interleave(2)
    copied = metrics_of((logits[twice], labels[twice], weights[twice], users[twice], oracle[twice]))
    heavy = metrics_of((logits, labels, weights * 2, users, oracle))
    for task, metrics in copied.items():
        for name in ("auc", "gauc", "ne", "log_loss", "calibration"):
            assert heavy[task][name] == pytest.approx(metrics[name], rel=1e-12)


def test_weights_of_1_change_nothing() -> None:
    data = sample()
    metrics = ExactMetrics(TASKS, torch.device("cpu"))
    for batch in batches(data, 512):
        metrics.update(*batch)
    assert metrics_of(data) == metrics.compute()


def windowed() -> WindowedMetrics:
    return WindowedMetrics(
        TASKS,
        batch_size=500,
        world_size=1,
        rank=0,
        device=torch.device("cpu"),
        window=2_000,
        weighted=True,
    )


def test_a_window_agrees_with_scikit_learn_also_after_a_resume() -> None:
    logits, labels, weights, users, oracle = data = weighted_sample()
    assert oracle is not None
    metrics = windowed()
    for batch in batches(data, 500):
        metrics.update(*batch[:3])
    last = slice(1_000, 3_000)
    values = expected((logits[last], labels[last], weights[last], users[last], oracle[last]))
    found = metrics.compute(last=True)
    assert len(found) == 4 * len(TASKS)
    for task, known in values.items():
        for name in ("auc", "log_loss", "ne", "calibration"):
            assert found[f"{task}/{name}"] == pytest.approx(known[name], rel=1e-5)
    tensors, counts = metrics.state_dict()
    resumed = windowed()
    assert {name: part.shape for name, part in resumed.empty(counts).items()} == {
        name: part.shape for name, part in tensors.items()
    }
    resumed.load_state_dict([tensors], counts)
    assert resumed.compute(last=True) == found
