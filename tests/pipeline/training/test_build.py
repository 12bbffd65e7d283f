"""What a configuration comes to on a device."""

from __future__ import annotations

from pipeline.config.sections import Bf16
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, rank_batch
from tests.ranks import run_ranks


def first_losses(bf16: Bf16) -> list[float]:
    """Of the tasks, in a run's first step."""
    run = config(())
    run = run.model_copy(update={"train": run.train.model_copy(update={"bf16": bf16})})
    chosen, world = resolve_features(run, SCHEMA), this_world()
    pipeline = open_pipeline(build(run, chosen, world)[1], world)
    batch = rank_batch(0, 0, 1, [feature.name for feature in chosen.features])
    losses: list[float] = pipeline.progress(iter([batch])).losses_T.tolist()
    return losses


def losses_by_switch(rank: int, size: int) -> list[list[float]]:
    return [first_losses(bf16) for bf16 in ("auto", "off", "on")]


def test_what_a_run_gives_on_cpu_does_not_depend_on_bf16_units() -> None:
    ((auto, off, on),) = run_ranks(losses_by_switch, 1)
    assert auto == off
    assert on != off
