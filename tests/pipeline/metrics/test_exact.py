"""Metrics of an evaluation: against scikit-learn, and the same however the rows are spread."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from pipeline.metrics.exact import ExactMetrics, TaskResults
from tests.ranks import run_ranks

TASKS = ("click", "forward", "train")
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]


def sample(rows: int = 3_000, seed: int = 0) -> Batch:
    """logits, labels (one in five missing), weights (one in ten padding), users, oracle.

    Logits are rounded: ties. `train` has no oracle.
    """
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(rows, 3, generator=generator) * torch.tensor([0.8, 0.3, 0.05])
    logits = (truth.logit() + torch.randn(rows, 3, generator=generator)).round(decimals=1)
    labels = (torch.rand(rows, 3, generator=generator) < truth).float()
    labels[torch.rand(rows, 3, generator=generator) < 0.2] = torch.nan
    weights = (torch.rand(rows, generator=generator) < 0.9).float()
    users = torch.randint(0, 400, (rows,), generator=generator) * 10**12 - 7
    truth[:, 2] = torch.nan
    return logits, labels, weights, users, truth


def batches(data: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(data[0]), size):
        rows = slice(start, start + size)
        logits, labels, weights, users, oracle = data
        part = None if oracle is None else oracle[rows]
        yield logits[rows], labels[rows], weights[rows], users[rows], part


def metrics_of(
    data: Batch, batch_size: int = 512, no_user: int | None = None
) -> dict[str, TaskResults]:
    metrics = ExactMetrics(TASKS, torch.device("cpu"), no_user=no_user)
    for batch in batches(data, batch_size):
        metrics.update(*batch)
    return metrics.compute()


def metrics_of_a_rank(
    rank: int, world_size: int, data: Batch, starts: list[int]
) -> dict[str, TaskResults]:
    """The rank's rows are those from its start to the next rank's."""
    rows = slice(starts[rank], starts[rank + 1])
    logits, labels, weights, users, oracle = data
    part = None if oracle is None else oracle[rows]
    return metrics_of((logits[rows], labels[rows], weights[rows], users[rows], part))


def gauc_user_by_user(
    scores: np.ndarray, labels: np.ndarray, users: np.ndarray
) -> tuple[float, int, int]:
    total = weight = counted = left_out = 0
    for user in np.unique(users):
        mine = users == user
        if len(np.unique(labels[mine])) == 1:
            left_out += 1
            continue
        total += mine.sum() * roc_auc_score(labels[mine], scores[mine])
        weight += mine.sum()
        counted += 1
    return total / weight, counted, left_out


def test_metrics_agree_with_scikit_learn() -> None:
    logits, labels, weights, users, oracle = data = sample()
    assert oracle is not None
    for index, (task, result) in enumerate(metrics_of(data).items()):
        keep = (weights > 0) & ~labels[:, index].isnan()
        y, z, u = (column[keep].numpy() for column in (labels[:, index], logits[:, index], users))
        p = 1 / (1 + np.exp(-z.astype(np.float64)))
        gauc, counted, left_out = gauc_user_by_user(z, y, u)
        base_loss = log_loss(y, np.full(len(y), y.mean()))
        assert task == TASKS[index]
        assert (result["rows"], result["positives"]) == (len(y), y.sum())
        assert result["auc"] == pytest.approx(roc_auc_score(y, z), abs=1e-12)
        assert result["gauc"] == pytest.approx(gauc, abs=1e-12)
        assert (result["gauc_users"], result["gauc_left_out"]) == (counted, left_out)
        assert result["log_loss"] == pytest.approx(log_loss(y, p), rel=1e-7)
        assert result["ne"] == pytest.approx(log_loss(y, p) / base_loss, rel=1e-6)
        assert result["calibration"] == pytest.approx(p.sum() / y.sum(), rel=1e-6)
        if task == "train":
            assert "oracle_auc" not in result
            continue
        truth = oracle[keep, index].numpy()
        assert result["oracle_auc"] == pytest.approx(roc_auc_score(y, truth), abs=1e-12)
        assert result["oracle_gauc"] == pytest.approx(gauc_user_by_user(truth, y, u)[0], abs=1e-12)
        assert result["oracle_ne"] == pytest.approx(log_loss(y, truth) / base_loss, rel=1e-5)
        assert result["oracle_ne"] < result["ne"]


@pytest.mark.parametrize(
    "starts",
    [[0, 700, 3_000], [0, 0, 3_000], [0, 2_999, 2_999, 3_000]],
    ids=["two ranks", "a rank without rows", "three ranks"],
)
def test_ranks_agree_with_one_process(starts: list[int]) -> None:
    data = sample()
    expected = metrics_of(data)
    for result in run_ranks(metrics_of_a_rank, len(starts) - 1, data, starts):
        for task, metrics in expected.items():
            assert result[task] == pytest.approx(metrics, rel=1e-12)


def test_ranks_without_any_row_do_not_hang() -> None:
    first, second = run_ranks(metrics_of_a_rank, 2, sample(0), [0, 0, 0])
    assert first == second == metrics_of(sample(0))
    assert first["click"]["rows"] == 0


def test_batch_size_does_not_matter() -> None:
    data = sample()
    whole, split = metrics_of(data, 3_000), metrics_of(data, 7)
    for task in TASKS:
        assert split[task] == pytest.approx(whole[task], rel=1e-12)


@pytest.mark.parametrize("num_tasks", [1, 2])
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_of_few_tasks(rows: int, num_tasks: int) -> None:
    metrics = ExactMetrics(TASKS[:num_tasks], torch.device("cpu"))
    labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]])[:rows, :num_tasks]
    users = torch.zeros(rows, dtype=torch.int64)
    metrics.update(labels - 0.5, labels, torch.ones(rows), users, 0.1 + 0.8 * labels)
    for task, result in metrics.compute().items():
        assert (result["rows"], result["gauc_users"]) == (rows, rows // 2), task
        assert (
            result["auc"] == result["oracle_auc" if rows else "auc"] == (1 if rows == 2 else None)
        )


@pytest.mark.parametrize("label", [0.0, 1.0, torch.nan])
def test_one_class_has_counts_and_no_ranking(label: float) -> None:
    logits, labels, weights, users, oracle = sample()
    result = metrics_of((logits, torch.full_like(labels, label), weights, users, oracle))["click"]
    assert result["auc"] is result["gauc"] is result["ne"] is None
    assert result["gauc_users"] == 0
    rows = 0 if label != label else int(weights.sum())
    assert result["rows"] == rows
    assert (result["log_loss"] is None) == (rows == 0)
    assert result["gauc_left_out"] == (len(torch.unique(users[weights > 0])) if rows else 0)
    assert (result["calibration"] is None) == (label != 1.0)


def test_a_diverged_model_has_none_instead_of_nan() -> None:
    logits, labels, weights, users, oracle = sample()
    result = metrics_of((torch.full_like(logits, torch.nan), labels, weights, users, oracle))
    json.dumps(result, allow_nan=False)
    assert result["click"]["auc"] is result["click"]["log_loss"] is None
    assert result["click"]["oracle_auc"] is not None
    assert result["forward"]["rows"] == metrics_of(sample())["forward"]["rows"]


def test_weights_count_rows_once_and_padding_never() -> None:
    logits, labels, weights, users, oracle = sample()
    heavy = metrics_of((logits, labels, weights * 5, users, oracle))
    keep = weights > 0
    assert oracle is not None
    alone = metrics_of((logits[keep], labels[keep], weights[keep], users[keep], oracle[keep]))
    for task in TASKS:
        assert heavy[task] == pytest.approx(alone[task], rel=1e-12)


def test_compute_twice_and_then_more_rows() -> None:
    data = sample()
    metrics = ExactMetrics(TASKS, torch.device("cpu"))
    parts = list(batches(data, 1_500))
    metrics.update(*parts[0])
    assert metrics.compute() == metrics.compute()
    metrics.update(*parts[1])
    whole = metrics_of(data)
    for task, result in metrics.compute().items():
        assert result == pytest.approx(whole[task], rel=1e-12)


def test_without_users_all_else_is_the_same() -> None:
    whole = metrics_of(sample())
    metrics = ExactMetrics(TASKS, torch.device("cpu"), has_users=False)
    for batch in batches(sample(), 512):
        metrics.update(*batch)
    assert metrics.compute() == {
        task: {name: value for name, value in row.items() if "gauc" not in name}
        for task, row in whole.items()
    }


def test_rows_without_a_user_are_left_out_of_gauc_alone_and_counted() -> None:
    logits, labels, weights, users, oracle = sample()
    known = torch.arange(len(users)) % 3 > 0
    users = users.where(known, -8)  # before the first user, who is -7
    results = metrics_of((logits, labels, weights, users, oracle), no_user=-8)
    mixed = metrics_of((logits, labels, weights, users, oracle))
    alone = metrics_of((logits, labels, weights * known, users, oracle))
    for index, (task, result) in enumerate(results.items()):
        counted = (weights > 0) & ~labels[:, index].isnan()
        assert result["gauc_rows_without_user"] == int((counted & ~known).sum()) > 0
        assert result["auc"] == mixed[task]["auc"]
        for name in ("gauc", "gauc_users", "gauc_left_out", "oracle_gauc"):
            assert result.get(name) == alone[task].get(name)
        assert result["gauc_users"] == mixed[task]["gauc_users"] - 1

    nobody = metrics_of((logits, labels, weights, torch.full_like(users, -8), oracle), no_user=-8)
    assert all(row["gauc"] is None and row["gauc_users"] == 0 for row in nobody.values())
