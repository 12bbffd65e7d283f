"""A model folder as a model of Triton Inference Server.

    NAME/config.pbtxt     inputs and outputs
    NAME/1/model.py       code that Triton's Python backend runs
    NAME/1/model/         the model folder

A request is a table: each column is an input with one value per row. A list column has two inputs:
the values of all rows, and NAME.lengths, the number of values of each row.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.io.errors import UserError
from pipeline.io.files import write_text
from pipeline.scoring.inputs import Input
from pipeline.scoring.model import ExportedModel

CONFIG = "config.pbtxt"
MODEL = Path("1", "model")
_NAME_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def check_triton_name(out: Path) -> None:
    """Raise UserError if the folder's name, which is the model's name, is not valid in Triton."""
    if not out.name or not set(out.name) <= _NAME_CHARACTERS:
        raise UserError(
            f"{out}: {out.name!r} is the name of the model in Triton; use letters, digits, "
            "_, - and dots"
        )


def write_triton(folder: Path, name: str) -> None:
    """Add config and code for the model folder in `folder`/1/model."""
    model = ExportedModel.load(folder / MODEL, verify=False)
    write_text(folder / CONFIG, config_text(name, model))
    code = Path(__file__).with_name("triton_model.py").read_text(encoding="utf-8")
    write_text(folder / "1" / "model.py", code)


def config_text(name: str, model: ExportedModel) -> str:
    """Return config.pbtxt, in the text format of Triton's ModelConfig."""
    inputs = [part for one in model.inputs for part in _inputs(one)]
    outputs = [_tensor("probabilities", "TYPE_FP32", [-1, len(model.tasks)])]
    outputs.append(_tensor("score", "TYPE_FP32", [-1]))
    lines = [f"name: {json.dumps(name)}", 'backend: "python"', "max_batch_size: 0"]
    lines += [f"input {one}" for one in inputs] + [f"output {one}" for one in outputs]
    lines.append("instance_group { kind: KIND_CPU count: 1 }")
    return "\n".join(lines) + "\n"


def _inputs(one: Input) -> list[str]:
    # Raw ids may be numbers or text: as text, both mean the same to a vocabulary.
    ids = "TYPE_STRING" if one.type is None else "TYPE_INT64"
    kind = {"id": ids, "ids": ids, "number": "TYPE_FP64", "weights": "TYPE_FP64"}[one.kind]
    found = [_tensor(one.name, kind, [-1])]
    if one.is_list:
        found.append(_tensor(f"{one.name}.lengths", "TYPE_INT64", [-1]))
    return found


def _tensor(name: str, kind: str, dims: list[int]) -> str:
    return f"{{ name: {_quoted(name)} data_type: {kind} dims: {dims} }}"


def _quoted(text: str) -> str:
    """Quote as in protobuf's text format: other bytes than printable ASCII as octal escapes."""
    plain = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(plain) + '"'
