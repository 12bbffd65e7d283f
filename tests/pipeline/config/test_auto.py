"""Fields that follow from the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.auto import DERIVED, derive
from pipeline.config.overrides import amend, resolve
from pipeline.config.tree import Config
from pipeline.data.schema import DenseFeature, Label, Schema
from pipeline.data.split_counts import Split
from pipeline.io.errors import UserError


def schema_of(rows: int) -> Schema:
    return Schema(
        dataset="table",
        made_by="test",
        sparse=(),
        tables=(),
        dense=(DenseFeature(name="age", mean=0, std=1),),
        labels=(Label(name="click", column="label.click", category="all"),),
        splits={"train": Split(rows=rows, positives={"click": rows // 2})},
    )


def test_small_tables_take_small_batches_and_many_epochs() -> None:
    few, many = (derive(resolve("auto", None, []), schema_of(n))[0].train for n in (10**3, 10**8))
    assert few.batch_size < many.batch_size
    assert few.epochs > many.epochs == 1
    assert few.patience > 0


@pytest.mark.parametrize("rows", [0, 1, 63, 1000, 10**6, 10**10])
def test_every_field_has_a_valid_value_for_any_number_of_rows(rows: int) -> None:
    config, line = derive(resolve("auto", None, []), schema_of(rows))
    assert config.auto == ()
    assert all(name in line for name in DERIVED)


@pytest.mark.parametrize("rows", [16, 48, 720, 10**5])
def test_an_epoch_of_a_small_table_has_whole_batches(rows: int) -> None:
    train = derive(resolve("auto", None, []), schema_of(rows))[0].train
    assert rows // train.batch_size >= min(rows // 4, 20)


def test_fields_with_values_of_their_own_keep_them(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("recipe: auto\ntrain: {epochs: 7}\n", encoding="utf-8")
    config, line = derive(resolve(None, file, ["--train.batch_size", "33"]), schema_of(1000))
    assert (config.train.epochs, config.train.batch_size) == (7, 33)
    assert "train.epochs" not in line


def test_the_derived_configuration_is_saved_whole_and_derives_nothing_more(tmp_path: Path) -> None:
    config, _ = derive(resolve("auto", None, []), schema_of(1000))
    config.save(tmp_path / "config.json")
    saved = amend(Config.load(tmp_path / "config.json"), None, None, [])
    assert saved == config
    assert derive(saved, schema_of(10**8)) == (config, "")


def test_other_recipes_stay_as_they_are() -> None:
    config = resolve("demo", None, [])
    assert derive(config, schema_of(1000)) == (config, "")


def test_a_changed_kind_of_tower_gets_the_derived_widths(tmp_path: Path) -> None:
    words = ["--model.tower.kind", "mmoe"]
    config, _ = derive(resolve("auto", None, words), schema_of(1000))
    home, _ = derive(resolve("auto", None, []), schema_of(1000))
    assert config.model.tower.kind == "mmoe"
    assert config.model.tower.expert_dim == home.model.tower.expert_dim


def test_a_field_that_does_not_follow_from_data_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("auto: [train.epoch]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"auto: 'train\.epoch' .*did you mean 'train\.epochs'"):
        derive(resolve(None, file, []), schema_of(1000))
