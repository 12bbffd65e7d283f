"""Only a run of ours is ever replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.synthetic import prepare_synthetic
from pipeline.errors import UserError
from pipeline.recipes import recipe
from pipeline.run_folder import claim


def make_run(folder: Path) -> None:
    folder.mkdir()
    recipe("debug").save(folder / "config.json")
    (folder / "schema.json").write_text("{}")


def test_a_run_is_replaced_when_asked(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    claim(tmp_path / "run", False, True)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_is_kept_when_not_asked(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    with pytest.raises(UserError, match="holds a run; --resume goes on with it, --overwrite"):
        claim(tmp_path / "run", False, False)
    claim(tmp_path / "run", True, False)
    assert (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("config", "schema"), [("{}", True), ('{"port": 1}', True), ("{", True), (None, False)]
)
def test_what_is_no_run_is_not_deleted(config: str | None, schema: bool, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    make_run(folder)
    if config is not None:
        (folder / "config.json").write_text(config)
    if not schema:
        (folder / "schema.json").unlink()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not replaced"):
        claim(folder, False, True)
    assert (folder / "thesis.tex").exists()


def test_preparing_data_does_not_delete_a_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    with pytest.raises(UserError, match="not a prepared folder, so it is not overwritten"):
        prepare_synthetic(tmp_path / "run", rows=100, seed=0, overwrite=True)
    assert (tmp_path / "run" / "config.json").exists()
