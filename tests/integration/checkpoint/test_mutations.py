"""Whatever becomes of a checkpoint's small files, also under a checksum that is right, its readers
succeed or one line says what is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launchers.cli import checkpoint_actions
from pipeline.checkpoint.layout import saved_steps, step_folder
from pipeline.checkpoint.load import load_model
from pipeline.checkpoint.manifest import META, NAME, write_sealed
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from tests.integration.training.runs import run
from tests.mutations import (
    COUNT,
    assert_read_or_refused,
    byte_mutations,
    json_mutations,
    text_mutations,
)
from tests.ranks import run_ranks

FIELDS = ["--train.max_steps", "4", "--train.eval_every", "2", "--train.batch_size", "64"]


@pytest.fixture(scope="module")
def trained(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints."""
    out = tmp_path_factory.mktemp("mutations") / "run"
    assert run_ranks(run, 1, synthetic, out, FIELDS) == [0]
    return out


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def newest(run: Path) -> Path:
    checkpoints = run / "checkpoints"
    return checkpoints / step_folder(checkpoints, saved_steps(checkpoints)[-1]).name


def use(run: Path) -> None:
    """All readers that `homerec checkpoint` has."""
    where = str(run)
    actions: list[Callable[[], object]] = [
        lambda: checkpoint_actions.ls(where, json=False),
        lambda: checkpoint_actions.verify(where, json=False),
        lambda: checkpoint_actions.show(where, json=False),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        for action in actions:
            assert_read_or_refused(action, where)


@pytest.mark.parametrize("name", [NAME, META])
def test_files_that_are_sealed_again(folder: Path, name: str) -> None:
    path = newest(folder) / name
    value = json.loads(path.read_text(encoding="utf-8"))
    del value["sha256"]
    for changed in json_mutations(value):
        if isinstance(changed, dict):
            with contextlib.suppress(ValueError, UnicodeError):  # what JSON does not have
                write_sealed(path, changed)
        use(folder)


@pytest.mark.parametrize("name", ["checkpoints/best.json", "config.json"])
def test_files_that_are_not_sealed(folder: Path, name: str) -> None:
    path = folder / name
    for changed in text_mutations(path.read_text(encoding="utf-8")):
        path.write_bytes(changed)
        use(folder)


def evaluate_changed(rank: int, size: int, folder: Path, name: str) -> int:
    """Evaluate a checkpoint in which file `name` is changed, and the manifest knows; how often
    that worked."""
    place = newest(folder)
    manifest = json.loads((place / NAME).read_text(encoding="utf-8"))
    del manifest["sha256"]
    world, done = this_world(), 0
    text = (place / name).read_text(encoding="utf-8")
    for changed in text_mutations(text, count=COUNT // 4):
        (place / name).write_bytes(changed)
        files = manifest["files"] | {name: digest(changed)}
        write_sealed(place / NAME, manifest | {"files": files})
        done += assert_read_or_refused(
            lambda: evaluate_checkpoint(place, "val", None, world), changed
        )
    return done


def digest(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def load_changed(rank: int, size: int, folder: Path, name: str) -> None:
    """Load a checkpoint in which file `name` is changed, and the manifest knows."""
    place = newest(folder)
    manifest = json.loads((place / NAME).read_text(encoding="utf-8"))
    del manifest["sha256"]
    config, world = Config.load(place / "config.json"), this_world()
    _, parallel = build(config, resolve_features(config, Schema.load(place)), world)
    for changed in byte_mutations((place / name).read_bytes(), count=COUNT // 4):
        (place / name).write_bytes(changed)
        files = manifest["files"] | {name: digest(changed)}
        write_sealed(place / NAME, manifest | {"files": files})
        assert_read_or_refused(lambda: load_model(place, parallel.model, world), name)


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_a_changed_checkpoint_is_loaded_or_one_line_says_why_not(folder: Path, name: str) -> None:
    run_ranks(load_changed, 1, folder, name, timeout=600)


@pytest.mark.parametrize("name", ["config.json", "schema.json"])
def test_a_changed_checkpoint_is_evaluated_or_one_line_says_why_not(
    folder: Path, name: str
) -> None:
    run_ranks(evaluate_changed, 1, folder, name, timeout=600)


def resume_changed(rank: int, size: int, folder: Path, data: Path) -> None:
    """Resume runs whose position is changed."""
    path = newest(folder) / META
    value = json.loads(path.read_text(encoding="utf-8"))
    del value["sha256"]
    for number, changed in enumerate(json_mutations(value, count=COUNT // 4)):
        copy = Path(shutil.copytree(folder, folder.parent / f"resumed{number}"))
        with contextlib.suppress(ValueError, UnicodeError, TypeError):
            write_sealed(newest(copy) / META, changed)

        def again(copy: Path = copy) -> None:
            found = run(rank, size, data, copy, ["--train.max_steps", "5"], True)
            if isinstance(found, str):
                raise UserError(found)

        assert_read_or_refused(again, changed)


def test_a_changed_position_is_resumed_or_one_line_says_why_not(
    folder: Path, synthetic: Path
) -> None:
    run_ranks(resume_changed, 1, folder, synthetic, timeout=600)
