"""Figures in training equal exact figures of the same rows: the last ones, of all ranks."""

import pytest
import torch

from pipeline.metrics.exact import ExactMetrics
from pipeline.metrics.windowed import WindowedMetrics
from tests.ranks import run_ranks

TASKS = ("click", "forward", "a|b-c")
CPU = torch.device("cpu")


def batch(step: int, rank: int = 0, rows: int = 64) -> tuple[torch.Tensor, ...]:
    """logits with ties, labels (one in five missing), weights (some padding), users."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    logits = torch.randn(rows, 3, generator=generator).round(decimals=1) - 1
    labels = (torch.rand(rows, 3, generator=generator) < 0.4).float()
    labels[torch.rand(rows, 3, generator=generator) < 0.2] = torch.nan
    weights = (torch.rand(rows, generator=generator) < 0.9).float()
    return logits, labels, weights, torch.zeros(rows, dtype=torch.int64)


def windowed(world_size: int, rank: int, window: int) -> WindowedMetrics:
    return WindowedMetrics(
        TASKS, batch_size=64, world_size=world_size, rank=rank, device=CPU, window=window
    )


def exact(steps: range, world_size: int) -> dict[str, float]:
    metrics = ExactMetrics(TASKS, CPU)
    for step in steps:
        for rank in range(world_size):
            metrics.update(*batch(step, rank))
    results: dict[str, float] = {}
    for task, figures in metrics.compute().items():
        for name in ("ne", "log_loss", "calibration", "auc"):
            value = dict(figures)[name]
            assert isinstance(value, float)
            results[f"{task}/{name}"] = value
    return results


def train(rank: int, world_size: int, steps: int, window: int) -> list[dict[str, float]]:
    metrics = windowed(world_size, rank, window)
    results = []
    for step in range(steps):
        metrics.update(*batch(step, rank)[:3])
        results.append(metrics.compute())
    return results


def without_auc(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not name.endswith("/auc")}


def test_the_window_holds_the_last_samples() -> None:
    results = train(0, 1, steps=7, window=3 * 64)
    with_auc = []
    for step, result in enumerate(results):
        expected = exact(range(max(0, step - 2), step + 1), 1)
        if "click/auc" in result:
            with_auc.append(step)
        else:
            expected = without_auc(expected)
        assert result == pytest.approx(expected, rel=1e-6)
    # Once as many steps are new as the last one held: 1, 2 (the window is 3) and 3.
    assert with_auc == [0, 1, 3, 6]


def test_steps_kept_for_later_count_at_the_next_compute() -> None:
    metrics = windowed(1, 0, 32 * 64)
    for step in range(40):
        metrics.update(*batch(step)[:3])
        assert len(metrics._pending) < 4
    # 40 steps in pieces of 4: eight pieces are the last 32 steps.
    assert metrics.compute() == pytest.approx(exact(range(8, 40), 1), rel=1e-6)


def test_ranks_agree_on_the_figures_of_all_their_rows() -> None:
    first, second = run_ranks(train, 2, 4, 2 * 2 * 64)
    assert first == second
    assert first[3] == pytest.approx(exact(range(2, 4), 2), rel=1e-6)


def test_a_window_smaller_than_a_step_is_one_step() -> None:
    results = train(0, 1, steps=2, window=1)
    assert results[1] == pytest.approx(exact(range(1, 2), 1), rel=1e-6)


def test_what_the_window_does_not_define_is_left_out() -> None:
    metrics = windowed(1, 0, 64)
    logits, labels, weights, _ = batch(0)
    labels[:, 0] = 0.0
    labels[:, 1] = 1.0
    labels[:, 2] = torch.nan
    metrics.update(logits, labels, weights)
    assert metrics.compute().keys() == {"click/log_loss", "forward/log_loss", "forward/calibration"}


def test_before_the_first_step_there_is_nothing() -> None:
    assert windowed(1, 0, 64).compute() == {}


def held(rank: int, world_size: int, steps: int) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    """A rank's window after some steps, three of them held together at the last."""
    metrics = windowed(world_size, rank, 8 * 64 * world_size)
    for step in range(steps):
        metrics.update(*batch(step, rank)[:3])
    metrics.since_log_2T += 1 + rank
    return metrics.state_dict()


def go_on(
    rank: int,
    world_size: int,
    saved: list[tuple[dict[str, torch.Tensor], dict[str, int]]],
    steps: range,
) -> tuple[list[float], list[dict[str, float]]]:
    metrics = windowed(world_size, rank, 8 * 64 * len(saved))
    counts = saved[0][1]
    empty = metrics.empty(counts)
    assert {name: part.shape for name, part in empty.items()} == {
        name: part.shape for name, part in saved[0][0].items()
    }
    metrics.load_state_dict([tensors for tensors, _ in saved], counts)
    results = [metrics.compute()]
    for step in steps:
        metrics.update(*batch(step, rank)[:3])
        results.append(metrics.compute())
    return metrics.since_log_2T.flatten().tolist(), results


@pytest.mark.parametrize(
    ("before", "after", "steps"), [(1, 1, 13), (2, 2, 3), (1, 2, 8), (2, 1, 13), (3, 2, 13)]
)
def test_a_loaded_window_gives_the_same_metrics_on_any_ranks(
    before: int, after: int, steps: int
) -> None:
    saved = [held(rank, before, steps) for rank in range(before)]
    found = run_ranks(go_on, after, saved, range(steps, steps))
    ((now,),) = {tuple(map(repr, results)): results for _, results in found}.values()
    assert now == pytest.approx(exact(range(max(0, steps - 8), steps), before), rel=1e-6)
    sums = torch.tensor([sums for sums, _ in found]).sum(0)
    assert sums.tolist() == [before * (before + 1) / 2] * 6


def test_resuming_with_a_loaded_window_is_as_if_undisturbed() -> None:
    saved = [held(0, 1, 6)]
    _, results = go_on(0, 1, saved, range(6, 12))
    undisturbed = train(0, 1, 12, 8 * 64)
    for step in range(6, 12):
        left, right = without_auc(results[step - 5]), without_auc(undisturbed[step])
        assert left == pytest.approx(right, rel=1e-12)
        assert (
            left == pytest.approx(without_auc(exact(range(step - 7, step + 1), 1)), rel=1e-6)
            or step < 7
        )


def test_an_empty_window_loads_as_empty() -> None:
    _, results = go_on(0, 1, [held(0, 1, 0)], range(0))
    assert results == [{}]
