from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.api import Model, Recipe
from pipeline.data.schema import Schema
from pipeline.data.table.prepare import prepare_table
from pipeline.io.errors import UserError
from tests.pipeline.data.table.tables import table

FRAME = table(1500)
DIFFERS = "differs from that of the model|made in another way than those of the model"
SMALL = {"train.max_steps": 6, "train.batch_size": 128, "embeddings.dim": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    recipe = Recipe.propose(FRAME, labels=["click"], user="user", time="time", drop=["weights"])
    return recipe.set(**SMALL).fit(FRAME, tmp_path_factory.mktemp("api") / "run")


def test_predictions_are_those_that_were_evaluated(model: Model) -> None:
    found = model.predict(FRAME.drop("click"))
    assert found.columns == ["click"]
    assert len(found) == len(FRAME)
    folder = model.folder.with_name("run-data") / "prepared"
    assert Schema.load(folder).splits["val"].rows > 0
    split = Recipe.load(_saved(model)).config.data.split
    first, end = (datetime.fromisoformat(str(one)) for one in (split.val_from, split.test_from))
    rows = FRAME.with_columns(found.rename({"click": "predicted"})).filter(
        pl.col("time") >= first, pl.col("time") < end, pl.col("click").is_not_null()
    )
    metrics = model.evaluate("val")["click"]
    assert metrics["rows"] == len(rows)
    assert metrics["auc"] == pytest.approx(roc_auc_score(rows["click"], rows["predicted"]))


def _saved(model: Model) -> Path:
    return model.folder / "config.json"


def test_rows_do_not_depend_on_each_other(model: Model) -> None:
    whole = model.predict(FRAME)
    assert model.predict(FRAME[:0]).is_empty()
    for start, stop in ((0, 1), (7, 9)):
        part = model.predict(FRAME[start:stop])["click"]
        assert part.to_list() == pytest.approx(whole["click"][start:stop].to_list(), abs=1e-6)


def test_what_a_frame_lacks_is_named(model: Model) -> None:
    with pytest.raises(UserError, match="no column 'item', which feature 'item' needs"):
        model.predict(FRAME.drop("item"))
    bad = FRAME.head(3).with_columns(price=pl.Series([1.0, float("inf"), 2.0]))
    with pytest.raises(UserError, match=re.escape("row 1 (from 0), column 'price': inf is not a")):
        model.predict(bad)
    with pytest.raises(UserError, match="int: not a Polars or pandas data frame"):
        model.predict(3)


@pytest.mark.parametrize("changed", ["item", "price", "transform"])
def test_a_folder_prepared_anew_is_not_mistaken(model: Model, tmp_path: Path, changed: str) -> None:
    """Ids and ranges would have other meanings than in training."""
    config = Recipe.load(_saved(model)).config
    frame = FRAME.with_columns(
        item=pl.lit("other") if changed == "item" else pl.col("item"),
        price=pl.col("price") * 2 if changed == "price" else pl.col("price"),
    )
    folder = config.data.path
    kept = folder.rename(tmp_path / "kept")
    frame.write_parquet(tmp_path / "other.parquet")
    spec = config.table_spec()
    assert spec is not None
    source = spec.source.model_copy(update={"path": (str(tmp_path / "other.parquet"),)})
    try:
        features = dict(spec.features)
        if changed == "transform":
            features["age"] = features["age"].model_copy(update={"transform": ("log1p",)})
        other = spec.model_copy(update={"source": source, "features": features})
        prepare_table(other, folder, progress=lambda done, total, what: None)
        with pytest.raises(UserError, match=DIFFERS):
            model.predict(FRAME)
        with pytest.raises(UserError, match=DIFFERS):
            model.evaluate("val")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        kept.rename(folder)


def test_a_run_is_not_replaced_by_accident(model: Model) -> None:
    recipe = Recipe.load(_saved(model))
    with pytest.raises(UserError, match="already exists"):
        recipe.fit(FRAME, model.folder)


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    recipe = Recipe.propose(FRAME, labels=["click"], drop=["weights"]).set(**{"train.epochs": 3})
    recipe.save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path / "recipe.json").config == recipe.config
    assert "# 2" in recipe.text or "distinct" in recipe.text
    with pytest.raises(UserError, match="unknown field"):
        recipe.set(**{"train.epoch": 3})
