"""A model folder scores as a pyfunc as it does by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from pipeline.export.pyfunc import _load_pyfunc
from pipeline.io.errors import UserError
from pipeline.scoring.model import ExportedModel
from tests.pipeline.exported import ROWS, TASKS


def test_a_pyfunc_scores_as_the_model(model_folder: Path) -> None:
    frame = ROWS.to_pandas(types_mapper=pd.ArrowDtype).iloc[100:300]
    found = _load_pyfunc(str(model_folder)).predict(frame)
    model = ExportedModel.load(model_folder)
    expected = model.score(ROWS.slice(100, 200))
    assert list(found.columns) == [*TASKS, "score"]
    assert list(found.index) == list(range(100, 300))
    np.testing.assert_array_equal(found[list(TASKS)].to_numpy(), expected)
    np.testing.assert_array_equal(found["score"].to_numpy(), model.formula(expected))


def test_a_missing_column_is_named(model_folder: Path) -> None:
    frame = ROWS.to_pandas(types_mapper=pd.ArrowDtype).drop(columns="age")
    with pytest.raises(UserError, match="'age'"):
        _load_pyfunc(str(model_folder)).predict(frame)


def test_a_column_of_several_types_is_told(model_folder: Path) -> None:
    frame = ROWS.slice(0, 2).to_pandas(types_mapper=pd.ArrowDtype).assign(age=[1, "b"])
    with pytest.raises(UserError, match="several types"):
        _load_pyfunc(str(model_folder)).predict(frame)


def test_nothing_of_mlflow_is_imported() -> None:
    code = "import sys, pipeline.export.pyfunc; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
