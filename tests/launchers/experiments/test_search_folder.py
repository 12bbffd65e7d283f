"""A search's folder: begun again where a start died, and nowhere else."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from launchers.cli import tune
from launchers.experiments.search_folder import TuneFolder
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.io.errors import UserError


def test_a_start_that_died_is_begun_again(tmp_path: Path) -> None:
    prepare_synthetic(tmp_path / "data", rows=600, seed=3)
    out = tmp_path / "search"
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    args = parser.parse_args(["debug", "--search", "dense.lr=1:2", "--out", str(out)])
    fields = ["--data.path", str(tmp_path / "data")]
    with TuneFolder(args, fields):
        pass
    with pytest.raises(UserError, match="holds a search; --resume goes on with it, --out names"):
        TuneFolder(args, fields)
    (out / "search.json").unlink()  # written last
    assert {path.name for path in out.iterdir()} == {"base.yaml", "lock"}
    (out / ".search.json.partial").touch()
    with TuneFolder(args, fields):
        assert (out / "search.json").exists()
    (out / "search.json").unlink()
    (out / "base.yaml").write_text("port: 1\n")
    with pytest.raises(UserError, match="is not empty and holds no search"):
        TuneFolder(args, fields)
    assert (out / "base.yaml").read_text() == "port: 1\n"
