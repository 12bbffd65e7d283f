"""A model folder as a pyfunc, MLflow's form of a Python model. Imports nothing of MLflow.

mlflow.pyfunc.log_model(
    name="model", loader_module="pipeline.export.pyfunc", data_path="model",
    registered_model_name="ranker",
)
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.io.errors import UserError
from pipeline.scoring.files import output_names
from pipeline.scoring.model import ExportedModel


class PyFunc:
    """What MLflow calls to score."""

    def __init__(self, model: ExportedModel) -> None:
        self._model = model

    def predict(self, frame: Any, params: object = None) -> Any:
        """Return the columns of `homerec score` for a pandas frame with the model's raw columns.

        A frame of rows x (tasks and the ranking score), float32, with the index of `frame`.
        Give integer columns with missing values as pandas.ArrowDtype or Int64; pandas makes them
        float64 otherwise.

        Raises:
            UserError: a column is missing or a value is invalid.
        """
        try:
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except pa.ArrowException as error:
            raise UserError(f"frame: a column has values of several types: {error}") from error
        probabilities = self._model.score(table)
        columns = [*probabilities.T, self._model.formula(probabilities)]
        names = output_names(self._model)
        scored = pa.table([pa.array(column) for column in columns], names=names).to_pandas()
        return scored.set_index(frame.index)


def _load_pyfunc(data_path: str) -> PyFunc:
    """Load the model folder `data_path`; MLflow looks for this name."""
    return PyFunc(ExportedModel.load(data_path))
