"""Steps in steady state fault no pages: what a step frees serves the next one."""

from __future__ import annotations

import resource
from itertools import pairwise
from pathlib import Path

import pytest

from launchers.local.local_ranks import run_ranks
from pipeline.config.overrides import resolve
from pipeline.ranks.world import World
from pipeline.train import train
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput


class PageFaults(Hook):
    """Page faults of this process until each step."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def after_step(self, step: int, output: StepOutput) -> None:
        self.counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


def faults(world: World, data: Path, out: Path, batch_size: int) -> list[int]:
    words = {
        "data.path": data,
        "train.batch_size": batch_size,
        "train.epochs": 100,
        "train.max_steps": 50,
        "train.eval_every": 50,
    }
    config = resolve("demo", None, [f"--{name}={value}" for name, value in words.items()])
    hook = PageFaults()
    train(config, out, world, hooks=[hook])
    return [after - before for before, after in pairwise(hook.counts)]


@pytest.mark.parametrize("batch_size", [256, 2048])
def test_steps_fault_no_pages_once_warm(synthetic: Path, tmp_path: Path, batch_size: int) -> None:
    counts = run_ranks(faults, 1, synthetic, tmp_path / "run", batch_size)
    assert sum(counts[-20:]) / 20 <= 200, counts
