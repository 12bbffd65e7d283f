"""Rates rise, fall, and depend on the step alone."""

from __future__ import annotations

import pytest
import torch

from pipeline.config.sections import ScheduleConfig
from pipeline.training.batch_size import BatchSizes
from pipeline.training.optim.schedule import Schedule, factor


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_rises_to_one_and_falls_to_its_end(decay: str) -> None:
    config = ScheduleConfig.model_validate({"warmup_steps": 5, "decay": decay, "final": 0.2})
    curve = [factor(config, step, 50) for step in range(50)]
    assert curve[:6] == sorted(curve[:6])
    assert curve[5] == max(curve) == 1.0
    assert curve[5:] == sorted(curve[5:], reverse=True)
    assert curve[-1] == pytest.approx(0.2)
    assert min(curve) > 0


def test_constant_stays() -> None:
    config = ScheduleConfig(warmup_steps=0, decay="constant")
    assert {factor(config, step, 10) for step in range(10)} == {1.0}


def test_inverse_sqrt_needs_no_last_step() -> None:
    config = ScheduleConfig(warmup_steps=3, decay="inverse_sqrt", final=0.1)
    curve = [factor(config, step, 0) for step in range(1000)]
    assert curve[3] == 1.0
    assert curve[15] == pytest.approx(0.5)
    assert curve[3:] == sorted(curve[3:], reverse=True)
    assert curve[-1] == 0.1


def test_both_optimizers_follow() -> None:
    groups = [torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)]
    optimizer = torch.optim.SGD(
        [{"params": groups[:1], "lr": 0.5}, {"params": groups[1:], "lr": 2.0}], lr=1
    )
    schedule = Schedule(ScheduleConfig(warmup_steps=3), optimizer, 10)
    for step in range(10):
        scale = schedule.set()
        assert scale == factor(ScheduleConfig(warmup_steps=3), step, 10)
        assert [group["lr"] for group in optimizer.param_groups] == [0.5 * scale, 2.0 * scale]
        schedule.move()


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_half_the_ranks_halve_the_pace_and_end_at_the_same_rate(cut: int) -> None:
    """10 steps with all ranks, or `cut` of them and the rest with half the ranks."""
    config = ScheduleConfig(warmup_steps=0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    half = BatchSizes(per_rank=4, share=0.5, rate=0.5)
    schedule = Schedule(config, optimizer, 2 * (10 - cut), rows=half, at=float(cut))
    rates = []
    for _ in range(2 * (10 - cut)):
        rates.append(schedule.set() / half.rate)
        schedule.move()
    assert rates[::2] == pytest.approx([factor(config, step, 10) for step in range(cut, 10)])
    assert schedule.at == 10
