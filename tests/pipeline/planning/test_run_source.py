"""The demo can be planned before its data are there."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from launchers.cli.prepare import synthetic
from pipeline.config.recipes import demo
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.io.errors import UserError
from pipeline.planning.run_source import DEMO_ROWS, open_run
from pipeline.ranks.world import open_world


def test_the_demo_needs_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert inspect.signature(synthetic).parameters["rows"].default == DEMO_ROWS
    with open_world() as world:
        found = open_run("demo", (), world)
        assert (
            "data/demo is not there: planned for what 'homerec prepare" in capsys.readouterr().err
        )
        assert list(tmp_path.iterdir()) == []
        prepare_synthetic(demo().data.path, rows=DEMO_ROWS, seed=0)
        assert open_run("demo", (), world).tables == found.tables
        assert capsys.readouterr().err == ""
        with pytest.raises(UserError, match="not a prepared folder"):
            open_run("demo", ["--data.path", "elsewhere"], world)
