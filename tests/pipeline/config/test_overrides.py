"""Which configuration and which folder a command line means."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.overrides import configure, resolve
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


def test_another_recipe_is_refused_wherever_it_is_named(home: Path) -> None:
    (home / "run.yaml").write_text("recipe: demo\n", encoding="utf-8")
    out = Path("runs/debug")
    for name, config in (("demo", None), (None, Path("run.yaml"))):
        with pytest.raises(
            UserError, match="recipe: 'demo': the run to resume was made by recipe 'debug'"
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
