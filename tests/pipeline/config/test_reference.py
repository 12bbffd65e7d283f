"""The reference of the configuration is generated, and the committed page is the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.fields import fields, type_name
from pipeline.config.recipes import RECIPES
from pipeline.config.reference import reference
from pipeline.config.section import Section
from pipeline.config.sections import LossConfig, TrainConfig
from pipeline.config.tree import Config

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_it_has_every_field_and_every_recipe() -> None:
    lines = reference().splitlines()
    for field in fields(Config):
        if "." in field.name:
            assert any(line.startswith(f"| `{field.name}` |") for line in lines), field.name
    assert "| `embeddings.tables.NAME.dim` | int >= 4, <= 8192, a multiple of 4 |" in reference()
    for name in RECIPES:
        assert f"### {name}" in lines


@pytest.mark.parametrize(
    ("section", "field", "name"),
    [
        (TrainConfig, "epochs", "int >= 1"),
        (TrainConfig, "bf16", "auto, on, off or measure"),
        (TrainConfig, "deterministic", "true or false"),
        (TrainConfig, "ema_decay", "float >= 0, < 1"),
        (LossConfig, "task_weights", "{name: float}"),
    ],
)
def test_what_a_field_takes(section: type[Section], field: str, name: str) -> None:
    info = section.model_fields[field]
    assert type_name(info.annotation, tuple(info.metadata)) == name
