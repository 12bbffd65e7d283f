"""Scores requests in Triton's Python backend; `homerec export --layout triton` copies this file.

Needs homerec in the Python of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import triton_python_backend_utils as pb_utils  # of the server

from pipeline.io.errors import UserError
from pipeline.scoring.model import ExportedModel


class TritonPythonModel:
    """The interface of the backend."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; raises what is wrong with it."""
        version = Path(args["model_repository"]) / args["model_version"]
        self._model = ExportedModel.load(version / "model")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return one response for each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            probabilities = self._model.score(self._table(request))
        except (UserError, pa.ArrowException) as error:
            problem = pb_utils.TritonError(str(error))
            return pb_utils.InferenceResponse(output_tensors=[], error=problem)
        outputs = {
            "probabilities": probabilities,
            "score": self._model.formula(probabilities),
        }
        tensors = [pb_utils.Tensor(name, value) for name, value in outputs.items()]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _table(self, request: Any) -> pa.Table:
        columns = {}
        for one in self._model.inputs:
            values = _values(request, one.name)
            if one.is_list:
                lengths = _values(request, f"{one.name}.lengths").to_numpy(zero_copy_only=False)
                offsets = np.concatenate([[0], lengths.cumsum()])
                if offsets[-1] != len(values) or (lengths < 0).any():
                    raise UserError(
                        f"{one.name}.lengths: the sum is {offsets[-1]}, but there are "
                        f"{len(values)} values of {one.name!r}; give the number of each row"
                    )
                values = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
            columns[one.name] = values
        return pa.table(columns)


def _values(request: Any, name: str) -> pa.Array:
    """Return an input; NaN and empty text are missing values."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        raise UserError(f"no input {name!r}; add it")
    values = tensor.as_numpy()
    if values.dtype == object:
        return pa.array([value.decode() or None for value in values], pa.string())
    return pa.array(values, from_pandas=True)
