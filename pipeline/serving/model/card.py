"""What a model is: for people, the console and monitoring."""

from __future__ import annotations

from typing import Any

from pipeline.serving.model.served import Served


def card(served: Served) -> dict[str, Any]:
    """Return tasks, columns, formula, metrics, data and digests."""
    model = served.model
    manifest = model.manifest
    origin = manifest.origin
    return {
        "name": name(served),
        "digest": model.digest,
        "tasks": [{"name": one.name, "category": one.category} for one in manifest.tasks],
        "inputs": [
            {"name": one.name, "kind": one.kind, "group": one.group, "list": one.is_list}
            for one in model.inputs
        ],
        "formula": {"version": served.formula_version, "formula": served.formula.text},
        "tower": {
            "form": model.form,
            "kind": None if manifest.tower is None else manifest.tower.kind,
        },
        "tables": [
            {"name": one.name, "rows": one.rows, "dim": one.dim, "type": one.type}
            for one in manifest.tables
        ],
        "step": origin.step,
        "dataset": origin.dataset,
        "rows": dict(origin.rows),
        "split": None if origin.split is None else dict(origin.split),
        "metrics": None if origin.metrics is None else dict(origin.metrics),
        "parity": None if manifest.parity is None else manifest.parity.model_dump(mode="json"),
        "made_by": origin.made_by,
    }


def name(served: Served) -> str:
    """Return the model's name: that of its folder."""
    return served.model.folder.resolve().name


def metadata(served: Served) -> dict[str, Any]:
    """Return the Open Inference Protocol's metadata of the model.

    Shapes are those of a request's candidates: -1 for their number.
    """
    kinds = {"id": "BYTES", "ids": "BYTES", "number": "FP32", "weights": "FP32"}
    inputs = [
        {
            "name": one.name,
            "datatype": "INT64"
            if one.type is not None and "int64" in one.type
            else kinds[one.kind],
            "shape": [-1, -1] if one.is_list else [-1],
        }
        for one in served.model.inputs
    ]
    outputs = [*served.model.tasks, "score"]
    return {
        "name": name(served),
        "versions": [served.model.digest],
        "platform": "homerec",
        "inputs": inputs,
        "outputs": [{"name": one, "datatype": "FP32", "shape": [-1]} for one in outputs],
    }
