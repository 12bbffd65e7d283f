"""Named runs. A recipe is a function that returns a whole configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from embeddings.features import EmbeddingsConfig
from models.home import HomeConfig
from pipeline.config import Config, DataConfig, ModelConfig, TrainConfig
from pipeline.errors import UserError, nearest


def demo() -> Config:
    """Synthetic data, minutes on two cores."""
    return Config(
        recipe="demo",
        data=DataConfig(path=Path("data/demo")),
        train=TrainConfig(epochs=2, batch_size=2048),
    )


def debug() -> Config:
    """Seconds: a narrow tower, few steps, for tests and for looking into a failure."""
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
    """KuaiRand's standard log: the settings that validation days chose on the Pure slice."""
    return Config(
        recipe="kuairand",
        data=DataConfig(path=Path("data/kuairand")),
        train=TrainConfig(epochs=2, batch_size=2048),
    )


RECIPES: dict[str, Callable[[], Config]] = {"demo": demo, "debug": debug, "kuairand": kuairand}


def recipe(name: str) -> Config:
    """The named recipe. UserError for an unknown name."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}; {nearest(name, list(RECIPES))}")
    return RECIPES[name]()
