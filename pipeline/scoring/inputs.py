"""The columns that a model reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.scoring.columns import column_types
from pipeline.scoring.encode import Encoder
from pipeline.scoring.manifest import Manifest

Kind = Literal["id", "ids", "number", "weights"]


@dataclass(frozen=True, slots=True)
class Input:
    """A column that the model reads."""

    name: str
    kind: Kind
    group: Literal["user", "item", "context"]
    is_list: bool
    type: str | None
    """Arrow type of a column of a prepared folder. None for a raw column: ids are whole numbers or
    text, numbers any numbers."""
    separator: str | None = None
    """Between the values of a list that is text."""


def raw_inputs(encoder: Encoder) -> tuple[Input, ...]:
    """Return the raw columns that a feature program reads."""
    found: dict[str, Input] = {}
    for name, feature in encoder.features.items():
        for column in feature.columns(name):
            kind: Kind = "ids" if feature.type == "weighted_ids" else feature.type
            if column == feature.weights:
                kind = "weights"
            is_list = kind in ("ids", "weights") and feature.separator is None
            separator = feature.separator if kind in ("ids", "weights") else None
            found.setdefault(column, Input(column, kind, feature.group, is_list, None, separator))
    return tuple(found.values())


def prepared_inputs(manifest: Manifest) -> tuple[Input, ...]:
    """Return the columns of a prepared folder that a model reads."""
    types = column_types(manifest)
    found = []
    for one in manifest.sparse:
        kind: Kind = "ids" if one.multi else "id"
        found.append(Input(one.column, kind, one.group, one.multi, str(types[one.column])))
        if one.weights is not None:
            found.append(Input(one.weights, "weights", one.group, True, str(types[one.weights])))
    numbers = [
        Input(one.column, "number", "context", False, str(types[one.column]))
        for one in manifest.dense
    ]
    return (*found, *numbers)
