"""The same rows, by every way to score them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.api import Model
from pipeline.data.sources.config import FilesConfig
from pipeline.export.export import export
from pipeline.scoring.files import score_files
from pipeline.scoring.model import ExportedModel
from pipeline.serving.store.load import load_features
from tests.pipeline.exported import FRAME, TASKS
from tests.pipeline.serving.client import running
from tests.pipeline.serving.test_rank import COLUMNS, plain, probabilities

ROWS = FRAME.select(COLUMNS).with_columns(sku=pl.int_range(pl.len()))


@pytest.mark.parametrize("tables", ["fp32", "int8"])
def test_every_way_to_score_gives_the_same_probabilities(
    trained: Model, tmp_path: Path, tables: str
) -> None:
    folder, rows = tmp_path / "model", tmp_path / "rows.parquet"
    export(trained.folder, folder, tables=tables, compile_tower="off")  # type: ignore[arg-type]
    ROWS.write_parquet(rows)
    expected = ExportedModel.load(folder).score(ROWS.to_arrow())
    evaluated = trained.predict(FRAME).to_numpy()
    tolerance = 1e-6 if tables == "fp32" else 3e-3  # int8 rounds the tables
    np.testing.assert_allclose(expected, evaluated, rtol=0, atol=tolerance)

    files = FilesConfig(path=(str(rows),))
    score_files(folder, files, tmp_path / "scores")
    scored = pl.read_parquet(tmp_path / "scores" / "rows.parquet").select(TASKS).to_numpy()
    np.testing.assert_allclose(scored, expected, rtol=0, atol=1e-6)

    load_features(folder, files, "sku", tmp_path / "store")
    columns = ROWS.drop("sku")
    with running(folder, store=tmp_path / "store", deadline_ms=60_000) as client:
        as_json = client.rank({"candidates": plain(columns)}).json
        np.testing.assert_array_equal(probabilities(as_json), expected)
        arrow = client.rank_arrow(columns.to_arrow(), {})
        found = np.stack([arrow[task].to_numpy() for task in TASKS], axis=1)
        np.testing.assert_array_equal(found, expected)
        stored = client.rank({"candidates": [{"sku": n} for n in range(len(ROWS))]}).json
        np.testing.assert_array_equal(probabilities(stored), expected)
        assert stored["missing_keys"] == {}
