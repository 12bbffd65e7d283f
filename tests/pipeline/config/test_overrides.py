"""Which configuration and which folder a command line means."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.config.fields import fields
from pipeline.config.overrides import configure, resolve
from pipeline.config.recipes import recipe
from pipeline.config.tree import Config
from pipeline.io.errors import UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a run of `debug` in runs/debug, seed 5."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "debug").mkdir(parents=True)
    saved = resolve("debug", None, ["--train.seed", "5", "--dense.lr", "0.005"])
    saved.save(tmp_path / "runs" / "debug" / "config.json")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "out"), [("debug", None), (None, Path("runs/debug")), ("debug", Path("runs/debug"))]
)
def test_a_resume_keeps_the_runs_own_tree(home: Path, name: str | None, out: Path | None) -> None:
    config, folder = configure(
        name, None, out, ["--train.max_steps", "9"], resume=True, must_exist=True
    )
    assert folder == Path("runs/debug")
    assert (config.train.seed, config.dense.lr, config.train.max_steps) == (5, 0.005, 9)


def test_a_recipe_named_in_yaml_names_the_folder(home: Path) -> None:
    (home / "run.yaml").write_text("recipe: debug\ntrain: {max_steps: 7}\n", encoding="utf-8")
    config, folder = configure(None, Path("run.yaml"), None, [], resume=True, must_exist=True)
    assert folder == Path("runs/debug")
    assert (config.train.seed, config.train.max_steps) == (5, 7)


def test_another_recipe_is_rejected_wherever_it_is_named(home: Path) -> None:
    (home / "run.yaml").write_text("recipe: demo\n", encoding="utf-8")
    out = Path("runs/debug")
    for name, config in (("demo", None), (None, Path("run.yaml"))):
        with pytest.raises(
            UserError, match="recipe: 'demo': the run to resume uses recipe 'debug'"
        ):
            configure(name, config, out, [], resume=True, must_exist=True)


def test_resuming_nothing_is_an_error_but_a_restart_begins(home: Path) -> None:
    out = Path("runs/typo")
    with pytest.raises(UserError, match="runs/typo: no run to resume"):
        configure("debug", None, out, [], resume=True, must_exist=True)
    config, _ = configure("debug", None, out, [], resume=True, must_exist=False)
    assert config == resolve("debug", None, [])


def test_a_new_run_takes_nothing_from_an_old_one(home: Path) -> None:
    config, folder = configure("debug", None, None, [], resume=False, must_exist=False)
    assert folder == Path("runs/debug")
    assert config == resolve("debug", None, [])


@pytest.mark.parametrize("address", ["memory://runs/a", "simplecache::memory://a"])
def test_checkpoints_in_a_process_memory_are_refused(address: str, tmp_path: Path) -> None:
    """In a new run, on resuming, and in a tree that an earlier version saved."""
    words = ["--checkpoint.path", address]
    with pytest.raises(UserError, match=r"checkpoint\.path: .*lost when the process ends; give a"):
        resolve("debug", None, words)
    recipe("debug").save(tmp_path / "config.json")
    with pytest.raises(UserError, match=r"checkpoint\.path: .*lost when the process ends; give a"):
        configure(None, None, tmp_path, words, resume=True, must_exist=True)
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    saved = json.loads(text)
    saved["checkpoint"]["path"] = address
    (tmp_path / "config.json").write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(UserError, match=r"checkpoint\.path: .*lost when the process ends; give a"):
        Config.load(tmp_path / "config.json")


@pytest.mark.parametrize("value", [2**31, 2**63, 10**400])
def test_no_whole_number_is_beyond_what_it_counts(value: int) -> None:
    whole = [field.name for field in fields(Config) if field.annotation is int]
    assert len(whole) > 25
    for name in whole:
        large = max(value, 2**41) if name.endswith("_rows") else value
        for kind in ("home", "mmoe", "ple", "adatt") if ".tower." in name else ("home",):
            with pytest.raises(UserError, match=re.escape(name)) as caught:
                resolve("demo", None, [f"--model.tower.kind={kind}", f"--{name}={large}"])
            assert len(str(caught.value)) < 500
