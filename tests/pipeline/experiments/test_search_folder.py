"""A search's folder: started again where a start died, and nowhere else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.experiments.search import Search
from pipeline.experiments.search_folder import open_search
from pipeline.io.errors import UserError


def start(out: Path) -> AbstractContextManager[Search]:
    return open_search(
        out,
        recipe="debug",
        config=None,
        overrides=["--data.path", str(out.parent / "data")],
        search=["dense.lr=1:2"],
        given={},
        resume=False,
    )


def test_a_start_that_died_is_started_again(tmp_path: Path) -> None:
    prepare_synthetic(tmp_path / "data", rows=600, seed=3)
    out = tmp_path / "search"
    with start(out):
        pass
    with (
        pytest.raises(UserError, match="holds a search; --resume goes on with it, --out names"),
        start(out),
    ):
        pass
    (out / "search.json").unlink()  # written last, but for Optuna's journal
    (out / "journal.log").unlink()
    assert {path.name for path in out.iterdir()} == {"base.yaml", "lock"}
    (out / ".search.json.partial").touch()
    with start(out):
        assert (out / "search.json").exists()
    (out / "search.json").unlink()
    (out / "base.yaml").write_text("port: 1\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not empty and holds no search"), start(out):
        pass
    assert (out / "base.yaml").read_text(encoding="utf-8") == "port: 1\n"
