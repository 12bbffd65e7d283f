"""Recipes: functions that return a complete configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from embeddings.config import EmbeddingsConfig, SparseOptimizerConfig
from models.towers.config import HomeConfig
from pipeline.config.auto import DERIVED
from pipeline.config.data import DataConfig
from pipeline.config.sections import (
    DenseOptimizerConfig,
    ModelConfig,
    ScheduleConfig,
    TrainConfig,
)
from pipeline.config.tree import Config
from pipeline.io.errors import UserError, nearest


def demo() -> Config:
    """Synthetic data and a narrow tower; takes one to two minutes on two cores."""
    return Config(
        recipe="demo",
        data=DataConfig(path=Path("data/demo")),
        model=ModelConfig(
            tower=HomeConfig(expert_hidden=(128,), expert_dim=64, tower_hidden=(32,))
        ),
        sparse=SparseOptimizerConfig(lr=0.1),
        dense=DenseOptimizerConfig(lr=2e-3),
        train=TrainConfig(batch_size=512, eval_every=250),
    )


def debug() -> Config:
    """A narrow tower and few steps; takes seconds. For tests and debugging."""
    return Config(
        recipe="debug",
        data=DataConfig(path=Path("data/demo")),
        embeddings=EmbeddingsConfig(dim=8, small_dim=4),
        model=ModelConfig(
            tower=HomeConfig(expert_hidden=(16,), expert_dim=16, tower_hidden=(8,), mask_rank=4)
        ),
        train=TrainConfig(max_steps=20, batch_size=256, log_every=1),
    )


def kuairand() -> Config:
    """KuaiRand's standard log, with settings chosen on the validation days of KuaiRand-Pure.

    - Experts have one layer and task towers no hidden layer: with two levels of experts, HoME is
      deep enough for this small data set.
    - Each task has two task-specific experts, which helps the rare tasks.
    - No normalization: BatchNorm costs .0005 AUC and .001 GAUC.
    - Two epochs, the second with large tables reset: otherwise they memorize the training rows.
    - Excluded: histories of likes, which are rare, and counts of past events that the statistics
      also contain.

    Results: docs/design/measurements.md.
    """
    return Config(
        recipe="kuairand",
        data=DataConfig(
            path=Path("data/kuairand"),
            exclude=("hist_like*", "log_past_clicks*", "log_past_long_views*", "log_past_likes*"),
        ),
        model=ModelConfig(
            tower=HomeConfig(
                expert_hidden=(),
                expert_dim=256,
                num_task_specific_experts=2,
                tower_hidden=(),
                normalization="none",
            )
        ),
        sparse=SparseOptimizerConfig(lr=0.06, reset_min_rows=1100),
        dense=DenseOptimizerConfig(lr=1.2e-3),
        schedule=ScheduleConfig(decay="constant"),
        train=TrainConfig(batch_size=256, epochs=2, ema_decay=0.998),
    )


def auto() -> Config:
    """A table of your own: batch size, epochs, widths and dropout follow from its rows, features
    and tasks.

    Training prints these values and saves them in config.json. Fields that you set keep your
    values. Results on public tables: docs/design/measurements.md.
    """
    return Config(
        recipe="auto",
        auto=DERIVED,
        model=ModelConfig(
            tower=HomeConfig(expert_hidden=(), tower_hidden=(), normalization="none")
        ),
        sparse=SparseOptimizerConfig(lr=0.1),
        dense=DenseOptimizerConfig(lr=2e-3),
    )


RECIPES: dict[str, Callable[[], Config]] = {
    "demo": demo,
    "debug": debug,
    "kuairand": kuairand,
    "auto": auto,
}


def recipe(name: str) -> Config:
    """Return the named recipe. Raises UserError for an unknown name."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}; {nearest(name, list(RECIPES))}")
    return RECIPES[name]()
