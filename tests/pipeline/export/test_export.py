"""Exported models score as evaluation does, in every form, and a folder is whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.api import Model
from pipeline.export.export import export
from pipeline.export.parity import auc, compare
from pipeline.export.tower_files import Compile
from pipeline.io.errors import UserError
from pipeline.scoring.manifest import NAME, Parity, TableType, load_manifest
from pipeline.scoring.model import ExportedModel
from pipeline.scoring.tower import Form
from tests.pipeline.exported import FRAME, ROWS, TASKS


@pytest.mark.parametrize("form", ["eager", "export"])
def test_raw_rows_score_as_they_are_predicted(
    trained: Model, model_folder: Path, form: Form
) -> None:
    expected = trained.predict(FRAME).to_numpy()
    model = ExportedModel.load(model_folder, form=form)
    assert model.tasks == TASKS
    np.testing.assert_allclose(model.score(ROWS), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tables", ["fp16", "int8"])
def test_smaller_tables_rank_as_well(
    trained: Model, tmp_path: Path, tables: TableType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "none")  # so that nothing is compiled
    assert trained.export(tmp_path / "m", tables=tables) == tmp_path / "m"
    manifest, _ = load_manifest(tmp_path / "m")
    assert manifest.parity is not None
    assert manifest.parity.rows > 50
    found = ExportedModel.load(tmp_path / "m").score(ROWS)
    np.testing.assert_allclose(found, trained.predict(FRAME).to_numpy(), rtol=0, atol=3e-3)


@pytest.mark.slow  # to compile
@pytest.mark.parametrize(("compiled", "tolerance"), [("on", 1e-6), ("bf16", 0.02)])
def test_a_compiled_tower_scores_the_same(
    trained: Model,
    tmp_path: Path,
    compiled: Compile,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    # Of so few rows, rounding changes the order of some.
    monkeypatch.setattr("pipeline.export.parity.MAX_AUC_DIFFERENCE", 0.02)
    export(trained.folder, tmp_path / "m", compile_tower=compiled)
    model = ExportedModel.load(tmp_path / "m", threads=2)
    assert model.form == "aoti"
    expected = trained.predict(FRAME).to_numpy()
    np.testing.assert_allclose(model.score(ROWS), expected, rtol=0, atol=tolerance)


def test_parity_is_of_the_rows_that_are_evaluated(trained: Model, model_folder: Path) -> None:
    manifest, _ = load_manifest(model_folder)
    metrics = trained.evaluate("val")
    assert manifest.parity is not None
    assert manifest.parity.max_difference <= 1e-5
    for task in TASKS:
        pair = manifest.parity.auc[task]
        assert pair is not None
        assert len(set(np.round(pair, 4))) == 1
    assert manifest.parity.rows >= (metrics["click"]["rows"] or 0)


def test_a_model_that_differs_leaves_nothing(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differing(*args: object) -> Parity:
        return compare(*args).model_copy(update={"max_difference": 2e-5})  # type: ignore[arg-type]

    monkeypatch.setattr("pipeline.export.export.compare", differing)
    with pytest.raises(UserError, match="differ by up to 2e-05 from evaluation, more than 1e-05"):
        export(trained.folder, tmp_path / "out" / "m", compile_tower="off")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_is_replaced_only_if_it_is_a_model(
    trained: Model, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    export(trained.folder, tmp_path / "m", compile_tower="off")
    with pytest.raises(UserError, match="contains a model; pass --overwrite"):
        export(trained.folder, tmp_path / "m")
    done = export(
        trained.folder, tmp_path / "m", compile_tower="off", overwrite=True, formula="click * 2"
    )
    assert done.formula == "click * 2"
    assert load_manifest(tmp_path / "m")[0] == done
    (tmp_path / "m" / NAME).unlink()
    with pytest.raises(UserError, match="is not empty and not an exported model"):
        export(trained.folder, tmp_path / "m", overwrite=True)
    with pytest.raises(UserError, match="is a file"):
        export(trained.folder, trained.folder / "config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, 200).astype(np.float32)
    target = rng.integers(0, 2, 200).astype(np.float32)
    target[:10] = np.nan
    pairs = scores[target == 1][:, None] - scores[target == 0]
    assert auc(scores, target) == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert auc(scores, np.zeros(200, np.float32)) is None
