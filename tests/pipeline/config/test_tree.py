"""One tree from recipe, YAML and command line: equal when read back, clear when wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from models.towers.config import HomeConfig, MmoeConfig
from pipeline.config.fields import fields
from pipeline.config.overrides import amend, field_help, parse, resolve
from pipeline.config.recipes import RECIPES, recipe
from pipeline.config.tree import Config, build, merge
from pipeline.io.errors import UserError
from pipeline.metrics.spec import selectable


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
    ("line", "message"),
    [
        ("--train.epoch 2", "unknown field 'train.epoch'; did you mean 'epochs'?"),
        ("--trian.epochs 2", "unknown field 'trian.epochs'; did you mean 'train.epochs'?"),
        ("--xyz.w 2", "unknown field 'xyz.w'; sections: data, embeddings, model, loss, "),
        ("--train.betas 1", "unknown field 'train.betas'; did you mean 'dense.betas'?"),
        ("--model.tower.num_mask 2", "of kind 'home'; did you mean 'num_masks'?"),
        ("--model.tower.kind=mmoe --model.tower.num_masks=2", "of kind 'mmoe'; known: expert_hi"),
        ("--embeddings.tables.a.dims 4", "'embeddings.tables.a.dims'; did you mean 'dim'?"),
        (
            "--loss.balance.alpha 1",
            "unknown field 'loss.balance.alpha' of kind 'fixed'; known: kind",
        ),
        ("--train.epochs two", "train.epochs: 'two': write a whole number"),
        ("--train.epochs 0", "train.epochs: '0': write a number >= 1"),
        ("--train.seed 99999999999", "train.seed: '99999999999': write a number < 2147483648"),
        ("--train.deterministic maybe", "train.deterministic: 'maybe': write true or false"),
        ("--train.compile yes", "train.compile: 'yes': write 'auto', 'on' or 'off'"),
        ("--dense.lr inf", "dense.lr: 'inf': write a finite number"),
        ("--dense.betas 0.9", "dense.betas.1: missing; give a value"),
        ("--dense.betas 1,2,3", "dense.betas: ['1', '2', '3']: write 2 values"),
        ("--embeddings.dim 6", "embeddings.dim: '6': write a multiple of 4"),
        (
            "--embeddings.tables.a 6",
            "embeddings.tables.a: '6': a section; give its fields, such as",
        ),
        ("--embeddings.tables 6", "'6': give entries, such as embeddings.tables.NAME"),
        ("--data.tasks.x 6", "data.tasks: {'x': '6'}: write a list"),
        ("--model.tower.kind hom", "model.tower.kind: 'hom': did you mean 'home'?"),
        ("--loss.balance.kind mean", "loss.balance.kind: 'mean': known: fixed, uncertainty, "),
        (
            "--loss.balance 3",
            "loss.balance: '3': a section; give its fields, such as loss.balance.",
        ),
        (
            "--sharding.types row_wize",
            "sharding.types: ['row_wize']: unknown sharding type 'row_wize'",
        ),
        (
            "--train.select auc",
            "train.select: 'auc': write TASK/METRIC, with metric auc, gauc, ne or",
        ),
        ("--loss.task_weights.like -1", "weight of 'like' is -1.0; write a finite number >= 0"),
        ("--loss.positive_weights.like 0", "weight of 'like' is 0.0; write a finite number > 0"),
        ("--loss.negative_sampling.like 2", "rate of 'like' is 2.0; write a number > 0 and <= 1"),
        (
            "--loss.balance.kind=gradnorm --loss.task_weights.like=2",
            "balance gradnorm chooses the weights itself; remove them, or use balance fixed or",
        ),
        ("--train.epochs", "--train.epochs needs a value"),
        ("--train.epochs --train.seed 3", "--train.epochs needs a value"),
        ("--train.epochs 2 --train.epochs.a 3", "--train.epochs.a: 'epochs' already has a value"),
        (
            "--loss.task_weights.a 4 --loss.task_weights 4",
            "--loss.task_weights: already has entries",
        ),
        ("epochs", "'epochs' is not an option; write --section.field VALUE"),
        ("--epochs 3", "unknown option '--epochs'"),
    ],
)
def test_what_is_wrong_is_named(line: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        resolve("demo", None, line.split())
    assert str(caught.value).startswith("command line: ")
    assert "\n" not in str(caught.value)


def test_resume_keeps_what_is_not_named() -> None:
    saved = resolve("debug", None, ["--train.seed", "5"])
    assert amend(saved, None, None, []) == saved
    assert amend(saved, "debug", None, ["--train.max_steps", "9"]).train.seed == 5
    with pytest.raises(UserError, match="recipe: 'demo': the run to resume uses recipe 'debug'"):
        amend(saved, "demo", None, [])


def test_every_field_can_be_set_and_is_explained() -> None:
    text = field_help()
    for field in fields(Config):
        assert field.help, field.name
        assert (f"--{field.name}\n" in text) == (field.name not in ("recipe", "auto", "features"))


def test_merging_leaves_its_inputs_alone() -> None:
    base = {"a": {"b": 1}}
    assert merge(base, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}


def test_parse_keeps_text() -> None:
    assert parse(["--train.select=like/auc"]) == {"train": {"select": "like/auc"}}
    with pytest.raises(UserError, match="command line"):
        build(merge(recipe("demo").model_dump(mode="json"), {"data": 3}), where="command line")


def test_help_names_every_kind_of_a_union() -> None:
    text = " ".join(field_help().split())
    assert (
        "(home, mmoe, ple, adatt, smes, rankmixer, shared_bottom or single_task; default: home)"
        in text
    )
    assert "(fixed, uncertainty, gradnorm or pcgrad; default: fixed)" in text
    for metric in selectable():
        assert re.search(rf"--train\.select .*?\b{metric}\b.*?--train\.patience", text)


def test_a_file_nested_too_deeply_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[" * 50_000, encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.json: not JSON"):
        Config.load(path)
