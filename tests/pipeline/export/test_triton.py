"""A model of Triton: its config has the official fields, its code scores as the model does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from pipeline.api import Model
from pipeline.export.export import export
from pipeline.export.triton import CONFIG, MODEL
from pipeline.io.errors import UserError
from pipeline.scoring.model import ExportedModel
from tests.pipeline.exported import FRAME, ROWS

_F = descriptor_pb2.FieldDescriptorProto
# Of model_config.proto (triton-inference-server/common), the fields that a config here has: name,
# number, type, whether repeated.
_MESSAGES: dict[str, list[tuple[str, int, Any, bool]]] = {
    "Tensor": [
        ("name", 1, _F.TYPE_STRING, False),
        ("data_type", 2, "DataType", False),
        ("dims", 4, _F.TYPE_INT64, True),
    ],
    "Group": [("kind", 4, "Kind", False), ("count", 2, _F.TYPE_INT32, False)],
    "ModelConfig": [
        ("name", 1, _F.TYPE_STRING, False),
        ("backend", 17, _F.TYPE_STRING, False),
        ("max_batch_size", 4, _F.TYPE_INT32, False),
        ("input", 5, "Tensor", True),
        ("output", 6, "Tensor", True),
        ("instance_group", 7, "Group", True),
    ],
}
_ENUMS = {
    "DataType": {"TYPE_INVALID": 0, "TYPE_INT64": 9, "TYPE_FP32": 11, "TYPE_FP64": 12}
    | {"TYPE_STRING": 13},
    "Kind": {"KIND_AUTO": 0, "KIND_GPU": 1, "KIND_CPU": 2},
}


def _config_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="t", syntax="proto3")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type = _F.TYPE_ENUM if kind in _ENUMS else _F.TYPE_MESSAGE
                added.type_name = f".t.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))


class _Server(ModuleType):
    """Stands in for the module that only Triton has."""

    def __init__(self) -> None:
        super().__init__("triton_python_backend_utils")

    Tensor = SimpleNamespace
    TritonError = str

    @staticmethod
    def get_input_tensor_by_name(request: dict[str, Any], name: str) -> Any:
        return SimpleNamespace(as_numpy=lambda: request[name]) if name in request else None

    @staticmethod
    def InferenceResponse(output_tensors: Any, error: str | None = None) -> Any:
        return SimpleNamespace(outputs=dict(output_tensors), error=error)


@pytest.fixture(scope="module")
def repository(trained: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repository") / "ranker"
    export(trained.folder, out, compile_tower="off", layout="triton")
    return out


def test_the_config_is_one_of_triton(repository: Path) -> None:
    config = text_format.Parse((repository / CONFIG).read_text(encoding="utf-8"), _config_class()())
    model = ExportedModel.load(repository / MODEL)
    assert (config.name, config.backend) == ("ranker", "python")
    names = [one.name for one in config.input]
    lists = [f"{one.name}.lengths" for one in model.inputs if one.is_list]
    assert sorted(names) == sorted([*(one.name for one in model.inputs), *lists])
    assert [(one.name, [*one.dims]) for one in config.output] == [
        ("probabilities", [-1, 3]),
        ("score", [-1]),
    ]


def test_its_code_scores_as_the_model(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = _Server()
    server.Tensor = lambda name, value: (name, value)  # type: ignore[assignment,misc]
    monkeypatch.setitem(sys.modules, server.__name__, server)
    spec = importlib.util.spec_from_file_location("model", repository / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    backend = module.TritonPythonModel()
    backend.initialize({"model_repository": str(repository), "model_version": "1"})
    model = ExportedModel.load(repository / MODEL)
    request = _request(model)
    good, bad, missing = backend.execute(
        [request, request | {"tags.lengths": np.zeros(3, np.int64)}, {}]
    )
    expected = model.score(ROWS)
    assert good.error is None
    np.testing.assert_allclose(good.outputs["probabilities"], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(good.outputs["score"], model.formula(expected), rtol=0, atol=1e-5)
    assert "tags.lengths: the sum is 0, but there are" in bad.error
    assert "no input 'user'; add it" in missing.error


def _request(model: ExportedModel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in model.inputs:
        column = FRAME[one.name]
        if one.is_list:
            lengths = column.list.len().fill_null(0)
            found[f"{one.name}.lengths"] = lengths.cast(int).to_numpy()
            column = column.explode(empty_as_null=False, keep_nulls=False)
        if one.kind in ("number", "weights"):
            found[one.name] = column.cast(float).to_numpy()
        else:
            words = ["" if value is None else str(value).encode() for value in column]
            found[one.name] = np.array([w or b"" for w in words], dtype=object)
    return found


def test_a_name_that_triton_cannot_have_is_rejected(trained: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the name of the model in Triton"):
        export(trained.folder, tmp_path / "a b", layout="triton")
