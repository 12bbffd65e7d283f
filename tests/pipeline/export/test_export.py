"""An exported model scores as evaluation does, in every form and for every kind of table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.api import Model, Recipe
from pipeline.export.export import export
from pipeline.scoring.model import ExportedModel
from tests.pipeline.data.table.tables import table

FRAME = table(1500)
SMALL = {"train.max_steps": 6, "train.batch_size": 128, "embeddings.dim": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    recipe = Recipe.propose(FRAME, labels=["click"], user="user", time="time", drop=["weights"])
    return recipe.set(**SMALL).fit(FRAME, tmp_path_factory.mktemp("export") / "run")


@pytest.fixture(scope="module")
def folder(trained: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    export(trained.folder, out, compile_tower="off")
    return out


@pytest.mark.parametrize("form", ["eager", "export"])
def test_raw_rows_score_as_they_are_predicted(trained: Model, folder: Path, form: str) -> None:
    model = ExportedModel.load(folder, form=form)  # type: ignore[arg-type]
    expected = trained.predict(FRAME).to_numpy()
    np.testing.assert_allclose(model.score(FRAME.to_arrow()), expected, rtol=0, atol=1e-6)


def test_loading_and_scoring_need_no_torchrec(folder: Path, tmp_path: Path) -> None:
    FRAME.head(10).write_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, pyarrow.parquet as pq\n"
        "from pipeline.scoring.model import ExportedModel\n"
        f"model = ExportedModel.load({str(folder)!r})\n"
        f"assert model.score(pq.read_table({str(tmp_path / 'rows.parquet')!r})).shape == (10, 1)\n"
        "heavy = ('torchrec', 'fbgemm_gpu', 'torch._inductor', 'pipeline.training')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_a_part_of_the_rows_scores_as_the_whole(folder: Path) -> None:
    model = ExportedModel.load(folder)
    whole = model.score(FRAME.to_arrow())
    for start, stop in ((0, 0), (0, 1), (7, 9), (1000, 1500)):
        part = model.score(FRAME[start:stop].to_arrow())
        np.testing.assert_allclose(part, whole[start:stop], rtol=0, atol=1e-6)


def test_files_are_scored_in_order_and_once(folder: Path, tmp_path: Path) -> None:
    from pipeline.data.sources.config import FilesConfig
    from pipeline.scoring.files import score_files

    FRAME[:900].write_parquet(tmp_path / "a.parquet", row_group_size=250)
    FRAME[900:].write_parquet(tmp_path / "b.parquet", row_group_size=250)
    files = FilesConfig(path=(str(tmp_path / "*.parquet"),))
    out = tmp_path / "out"
    done = score_files(folder, files, out, keep=("user",), threads=2)
    assert (done.files, done.skipped, done.rows) == (2, 0, 1500)
    found = pl.concat([pl.read_parquet(out / "a.parquet"), pl.read_parquet(out / "b.parquet")])
    assert found["user"].to_list() == FRAME["user"].to_list()
    expected = ExportedModel.load(folder).score(FRAME.to_arrow())
    np.testing.assert_allclose(found.select("click").to_numpy(), expected, rtol=0, atol=1e-6)
    (out / "b.parquet").unlink()
    again = score_files(folder, files, out, keep=("user",), threads=2)
    assert (again.files, again.skipped, again.rows) == (1, 1, 600)
