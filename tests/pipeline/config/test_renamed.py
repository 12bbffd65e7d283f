"""A field's old name is an error that tells the new one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config.fields import fields
from pipeline.config.overrides import configure, resolve
from pipeline.config.recipes import recipe
from pipeline.config.renamed import _RENAMED
from pipeline.config.tree import Config
from pipeline.experiments.search_space import read_searches
from pipeline.io.errors import UserError


def test_new_names_are_fields_and_old_names_are_not() -> None:
    leaves = [field.name for field in fields(Config)]
    known = {*leaves, *(name.rpartition(".")[0] for name in leaves)}
    assert known >= set(_RENAMED.values())
    assert not known & set(_RENAMED)


@pytest.mark.parametrize(("old", "new"), _RENAMED.items())
def test_an_old_name_on_the_command_line_and_in_yaml(old: str, new: str, tmp_path: Path) -> None:
    if "." in old:
        with pytest.raises(UserError, match=f"^command line: {old}: renamed to {new}$"):
            resolve("demo", None, [f"--{old}", "1"])
    text = "1"
    for part in reversed(old.split(".")):
        text = f"{{{part}: {text}}}"
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"run.yaml: {old}: renamed to {new}$"):
        resolve("demo", path, [])


def test_an_old_name_in_a_search() -> None:
    with pytest.raises(UserError, match=r"train.average: renamed to train.ema_decay$"):
        read_searches(["train.average=0.9:0.99"], recipe("demo"), [])


def test_a_run_of_an_older_version_is_rejected_in_one_line(tmp_path: Path) -> None:
    tree = recipe("demo").model_dump(mode="json")
    tree["sparse"]["renew_rows"] = tree["sparse"].pop("reset_min_rows")
    (tmp_path / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    message = "config.json: from an older version, where sparse.reset_min_rows"
    with pytest.raises(UserError, match=message) as caught:
        Config.load(tmp_path / "config.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message):
        configure("demo", None, tmp_path, [], resume=True, must_exist=True)
