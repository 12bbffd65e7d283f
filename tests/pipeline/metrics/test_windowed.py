"""Metrics in training equal naive ones of the same rows: the last ones, of all ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.metrics.spec import METRICS, MetricSpec
from pipeline.metrics.windowed import WindowedMetrics
from tests.ranks import run_ranks

TASKS = ("click", "forward", "a|b-c")
Metrics = dict[str, float]
Saved = tuple[dict[str, torch.Tensor], dict[str, int]]


def batch(step: int, rank: int = 0, rows: int = 64) -> tuple[torch.Tensor, ...]:
    """Logits with ties, labels (one in five missing), weights (some padding)."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    logits = torch.randn(rows, 3, generator=generator).round(decimals=1) - 1
    labels = (torch.rand(rows, 3, generator=generator) < 0.4).float()
    labels[torch.rand(rows, 3, generator=generator) < 0.2] = torch.nan
    weights = (torch.rand(rows, generator=generator) < 0.9).float()
    return logits, labels, weights


def windowed(world_size: int, rank: int, window: int) -> WindowedMetrics:
    device = torch.device("cpu")
    return WindowedMetrics(
        TASKS, batch_size=64, world_size=world_size, rank=rank, device=device, window=window
    )


def naive(steps: range, world_size: int = 1) -> Metrics:
    """From their definitions, over all rows of these steps."""
    batches = [batch(step, rank) for step in steps for rank in range(world_size)]
    columns = zip(*batches, strict=True)
    logits, labels, weights = (torch.cat(column).double().numpy() for column in columns)
    found = {}
    for t, task in enumerate(TASKS):
        known = (weights > 0) & ~np.isnan(labels[:, t])
        chance, label = 1 / (1 + np.exp(-logits[known, t])), labels[known, t]
        loss = -np.where(label == 1, np.log(chance), np.log(1 - chance)).mean()
        rate = label.mean()
        margins = chance[label == 1][:, None] - chance[label == 0][None, :]
        found[f"{task}/log_loss"] = loss
        found[f"{task}/ne"] = loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
        found[f"{task}/calibration"] = chance.sum() / label.sum()
        found[f"{task}/auc"] = ((margins > 0) + (margins == 0) / 2).mean()
    return found


def train(rank: int, world_size: int, steps: int, window: int) -> list[Metrics]:
    metrics = windowed(world_size, rank, window)
    results = []
    for step in range(steps):
        metrics.update(*batch(step, rank))
        results.append(metrics.compute())
    return results


def every_line(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if not name.endswith("/auc")}


def test_the_window_is_the_last_samples() -> None:
    results = train(0, 1, steps=7, window=3 * 64)
    with_auc = []
    for step, result in enumerate(results):
        expected = naive(range(max(0, step - 2), step + 1))
        if "click/auc" in result:
            with_auc.append(step)
        else:
            expected = every_line(expected)
        assert result == pytest.approx(expected, rel=1e-6)
    # Once as many steps are new as the last one read: 1, 2 (the window is 3) and 3.
    assert with_auc == [0, 1, 3, 6]


def test_steps_processed_together_leave_the_window_one_by_one() -> None:
    metrics = windowed(1, 0, 32 * 64)
    for step in range(43):
        metrics.update(*batch(step))
    assert metrics.compute() == pytest.approx(naive(range(11, 43)), rel=1e-6)


def test_ranks_agree_on_the_metrics_of_all_their_rows() -> None:
    first, second = run_ranks(train, 2, 4, 2 * 2 * 64)
    assert first == second
    assert first[3] == pytest.approx(naive(range(2, 4), 2), rel=1e-6)


def halves(rank: int, world_size: int) -> Metrics:
    metrics = WindowedMetrics(
        TASKS,
        batch_size=64 // world_size,
        world_size=world_size,
        rank=rank,
        device=torch.device("cpu"),
        window=5 * 64,
    )
    for step in range(8):
        metrics.update(*(part.chunk(world_size)[rank] for part in batch(step)))
    return metrics.compute()


def test_two_ranks_equal_one() -> None:
    first, second = run_ranks(halves, 2)
    assert first == second == pytest.approx(halves(0, 1), rel=1e-12)


def test_a_window_smaller_than_a_step_is_one_step() -> None:
    results = train(0, 1, steps=2, window=1)
    assert results[1] == pytest.approx(naive(range(1, 2)), rel=1e-6)


def test_undefined_metrics_are_left_out() -> None:
    metrics = windowed(1, 0, 64)
    logits, labels, weights = batch(0)
    labels[:, 0] = 0.0
    labels[:, 1] = 1.0
    labels[:, 2] = torch.nan
    metrics.update(logits, labels, weights)
    assert metrics.compute().keys() == {"click/log_loss", "forward/log_loss", "forward/calibration"}


def test_logits_without_a_number_or_bound_leave_with_their_step() -> None:
    metrics = windowed(1, 0, 2 * 64)
    logits, labels, weights = batch(0)
    logits[:, 0] = torch.nan
    logits[:, 1] = 1000
    metrics.update(logits, labels, weights)
    found = metrics.compute()
    assert not any(name.startswith("click/") for name in found)
    assert 1 < found["forward/log_loss"] < 30
    for step in (1, 2):
        metrics.update(*batch(step))
    assert metrics.compute() == pytest.approx(naive(range(1, 3)), rel=1e-6)


def test_before_the_first_step_there_is_nothing() -> None:
    assert windowed(1, 0, 64).compute() == {}


def test_an_added_metric_is_logged_once_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    brier = MetricSpec(
        name="brier",
        heading="Brier score",
        function=lambda rows: float((rows.probabilities_N - rows.labels_N).square().mean()),
        higher_is_better=False,
    )
    monkeypatch.setattr("pipeline.metrics.windowed.METRICS", [*METRICS, brier])
    results = train(0, 1, steps=4, window=2 * 64)
    assert ["click/brier" in result for result in results] == [True, True, False, True]
    logits, labels, weights = (torch.cat(part) for part in zip(batch(2), batch(3), strict=True))
    errors = (logits.sigmoid() - labels)[weights > 0].square()
    for task, error in zip(TASKS, errors.nanmean(0).tolist(), strict=True):
        assert results[3][f"{task}/brier"] == pytest.approx(error, rel=1e-6)


def test_the_last_line_has_every_metric_and_changes_nothing_after_it() -> None:
    metrics, other = windowed(1, 0, 8 * 64), windowed(1, 0, 8 * 64)
    for step in range(8):
        for each in (metrics, other):
            each.update(*batch(step))
        last, line = metrics.compute(last=True), other.compute()
        assert "click/auc" in last
        assert every_line(last) == every_line(line)
        assert metrics.state_dict()[1] == other.state_dict()[1]


def save(rank: int, world_size: int, steps: int) -> Saved:
    """A rank's window after some steps."""
    metrics = windowed(world_size, rank, 8 * 64 * world_size)
    for step in range(steps):
        metrics.update(*batch(step, rank))
    metrics.since_log_2T += 1 + rank
    return metrics.state_dict()


def resume(
    rank: int, world_size: int, saved: list[Saved], steps: range
) -> tuple[list[float], list[Metrics]]:
    metrics = windowed(world_size, rank, 8 * 64 * len(saved))
    counts = saved[0][1]
    empty = metrics.empty(counts)
    assert {name: part.shape for name, part in empty.items()} == {
        name: part.shape for name, part in saved[0][0].items()
    }
    metrics.load_state_dict([tensors for tensors, _ in saved], counts)
    results = [metrics.compute()]
    for step in steps:
        metrics.update(*batch(step, rank))
        results.append(metrics.compute())
    return metrics.since_log_2T.flatten().tolist(), results


@pytest.mark.parametrize(
    ("before", "after", "steps"), [(1, 1, 13), (2, 2, 3), (1, 2, 8), (2, 1, 13), (3, 2, 13)]
)
def test_a_loaded_window_gives_the_same_metrics_on_any_ranks(
    before: int, after: int, steps: int
) -> None:
    saved = [save(rank, before, steps) for rank in range(before)]
    found = run_ranks(resume, after, saved, range(steps, steps))
    ((now,),) = {tuple(map(repr, results)): results for _, results in found}.values()
    assert now == pytest.approx(naive(range(max(0, steps - 8), steps), before), rel=1e-6)
    sums = torch.tensor([sums for sums, _ in found]).sum(0)
    assert sums.tolist() == [before * (before + 1) / 2] * 6


def test_a_resumed_window_equals_an_undisturbed_one() -> None:
    _, results = resume(0, 1, [save(0, 1, 6)], range(6, 12))
    undisturbed = train(0, 1, 12, 8 * 64)
    for step in range(6, 12):
        found = every_line(results[step - 5])
        assert found == pytest.approx(every_line(undisturbed[step]), rel=1e-12)


def test_an_empty_window_loads_as_empty() -> None:
    _, results = resume(0, 1, [save(0, 1, 0)], range(0))
    assert results == [{}]
