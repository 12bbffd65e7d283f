"""Any recipe trains on any prepared folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.recipes import RECIPES
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.training.resolve_features import resolve_features


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_fits_a_folder_it_was_not_made_for(name: str, tmp_path: Path) -> None:
    schema = prepare_synthetic(tmp_path / "folder", rows=500, seed=0)
    kept = {feature.name for feature in schema.sparse if not feature.name.startswith("log_past")}
    schema = schema.model_copy(update={"dense": ()})
    chosen = resolve_features(RECIPES[name](), schema)
    assert {feature.name for feature in chosen.features} <= kept
    assert chosen.tasks
