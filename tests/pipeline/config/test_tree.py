"""One tree from recipe, YAML and command line: equal when read back, clear when wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from models.towers.config import HomeConfig, MmoeConfig
from pipeline.config.fields import fields
from pipeline.config.overrides import amend, field_help, parse, resolve
from pipeline.config.recipes import RECIPES, recipe
from pipeline.config.tree import Config, build, merge
from pipeline.io.errors import UserError


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_load_back_equal(name: str, tmp_path: Path) -> None:
    config = recipe(name)
    assert config.recipe == name
    config.save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json") == config


def test_the_same_tree_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(recipe("kuairand").model_dump(mode="json")), encoding="utf-8")
    assert resolve(None, path, []) == recipe("kuairand")


def test_later_wins(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("train: {epochs: 5, batch_size: 512, bf16: off}\n", encoding="utf-8")
    config = resolve("debug", path, ["--train.epochs", "7", "--data.tasks=click,like"])
    assert (config.train.epochs, config.train.batch_size) == (7, 512)
    assert config.train.bf16 == "off"
    assert config.data.tasks == ("click", "like")
    assert config.train.max_steps == recipe("debug").train.max_steps


def test_another_tower_starts_from_its_own_defaults() -> None:
    config = resolve("demo", None, ["--model.tower.kind", "mmoe"])
    assert config.model.tower == MmoeConfig()
    assert isinstance(resolve("demo", None, []).model.tower, HomeConfig)


def test_nested_names_and_lists() -> None:
    config = resolve(
        "demo",
        None,
        [
            "--loss.task_weights.like=2.5",
            "--embeddings.tables.video_id.dim",
            "32",
            "--model.tower.expert_hidden",
            "64,32",
        ],
    )
    assert config.loss.task_weights == {"like": 2.5}
    assert config.embeddings.tables["video_id"].dim == 32
    assert isinstance(config.model.tower, HomeConfig)
    assert config.model.tower.expert_hidden == (64, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train.epoch", "2"], r"unknown field 'train.epoch'; did you mean 'epochs'"),
        (["--trian.epochs", "2"], r"unknown field 'trian.epochs'; did you mean 'train.epochs'"),
        (["--model.tower.num_mask", "2"], r"unknown field 'model.tower.num_mask'; did you mean"),
        (["--train.epochs", "two"], r"train.epochs: 'two': .*integer"),
        (["--train.epochs", "0"], r"train.epochs: '0': .*greater than or equal to 1"),
        (["--model.tower.kind", "hom"], r"model.tower.*'hom'"),
        (["--sharding.types", "row_wize"], r"sharding.types: .*unknown sharding type 'row_wize'"),
        (["--train.select", "auc"], r"train.select: 'auc'"),
        (["--loss.task_weights.like", "-1"], r"loss.task_weights: .*'like' is -1"),
        (
            ["--loss.positive_weights.like", "0"],
            r"loss.positive_weights: .* is 0.0; .* above 0",
        ),
        (["--loss.negative_sampling.like", "2"], r"loss.negative_sampling: .*'like' is 2.0; rates"),
        (["--loss.balance.kind", "mean"], r"loss.balance.*'mean'"),
        (["--loss.balance.alpha", "1"], r"unknown field 'loss.balance.alpha'"),
        (
            ["--loss.balance.kind=gradnorm", "--loss.task_weights.like=2"],
            r"loss.task_weights: .*: balance gradnorm finds weights itself; name no task_weights",
        ),
        (["--embeddings.dim", "6"], r"embeddings.dim: '6': .*multiple of 4"),
        (["--train.epochs"], r"--train.epochs needs a value"),
        (["epochs"], r"'epochs' is not an option"),
        (["--epochs", "3"], r"unknown option '--epochs'"),
    ],
)
def test_what_is_wrong_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve("demo", None, words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epoch: 2}", r"run.yaml: unknown field 'train.epoch'; did you mean 'epochs'"),
        ("train:\n  epochs: [", r"run.yaml: line 2: not YAML"),
        ("- a", r"run.yaml: holds list, not sections"),
        ("recipe: dem", r"unknown recipe 'dem'; did you mean 'demo'"),
    ],
)
def test_a_faulty_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        resolve(None, tmp_path / "run.yaml", [])
    with pytest.raises(UserError, match="cannot be read"):
        resolve(None, tmp_path / "none.yaml", [])


def test_resume_keeps_what_is_not_named() -> None:
    saved = resolve("debug", None, ["--train.seed", "5"])
    assert amend(saved, None, None, []) == saved
    assert amend(saved, "debug", None, ["--train.max_steps", "9"]).train.seed == 5
    with pytest.raises(UserError, match="made by recipe 'debug', not 'demo'"):
        amend(saved, "demo", None, [])


def test_every_field_can_be_set_and_is_explained() -> None:
    text = field_help()
    for field in fields(Config):
        assert field.help, field.name
        assert f"--{field.name}\n" in text


def test_merging_leaves_its_inputs_alone() -> None:
    base = {"a": {"b": 1}}
    assert merge(base, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}


def test_parse_keeps_text() -> None:
    assert parse(["--train.select=like/auc"]) == {"train": {"select": "like/auc"}}
    with pytest.raises(UserError, match="command line"):
        build(merge(recipe("demo").model_dump(mode="json"), {"data": 3}), where="command line")
