"""A ranking request, whatever its format: columns of the request, and of its candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.io.arrays import IntArray
from pipeline.io.errors import nearest
from pipeline.scoring.inputs import Input
from pipeline.serving.http.answers import HttpError, invalid

ID = "id"
"""Column of a candidate that is echoed, unless the model reads a column of this name."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a request may be."""

    candidates: int
    list_values: int = 10_000
    """Values of one list."""


@dataclass(frozen=True, slots=True)
class RankRequest:
    """What is to be ranked."""

    shared: pa.Table
    """One row: columns of the user and of the context."""
    items: pa.Table
    """One row per candidate."""
    ids: pa.Array | None
    """What the client calls its candidates."""
    sort: bool
    top: int | None


def check_columns(request: RankRequest, inputs: Mapping[str, Input]) -> None:
    """Raise HttpError if a column is missing, or given for the request and for candidates."""
    shared, items = request.shared.column_names, request.items.column_names
    if not len(request.items):
        return
    for name in items:
        if name in shared:
            raise invalid(
                f"column {name!r} is given for the request and for the candidates; give it once",
                f"candidates[0].{name}",
            )
    for name, one in inputs.items():
        if name not in shared and name not in items:
            place = one.group if one.group != "item" else "candidates"
            raise HttpError(
                422,
                "missing_column",
                f"column {name!r}, which the model needs, is missing; give it in {place!r} or "
                "for each candidate",
                field=name,
            )


def check_lists(request: RankRequest, inputs: Mapping[str, Input], most: int) -> None:
    """Raise HttpError 422 for a list of more values, of the request or of the store."""
    for place, columns in (("user", request.shared), ("candidates", request.items)):
        for name, column in zip(columns.column_names, columns.columns, strict=True):
            lengths = _list_lengths(column, inputs.get(name))
            if lengths is None or not len(lengths) or lengths.max() <= most:
                continue
            row = int(lengths.argmax())
            where = f"{place}.{name}" if place == "user" else f"{place}[{row}].{name}"
            raise invalid(
                f"{where}: a list of {lengths[row]:,} values; at most {most:,} are taken", where
            )


def _list_lengths(column: pa.ChunkedArray, one: Input | None) -> IntArray | None:
    """Return the number of values of each list [rows]; None: they are no lists."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = pc.list_value_length(column)
    elif one is not None and one.separator is not None and _is_text(kind):
        lengths = pc.add(pc.count_substring(column, one.separator), 1)
    else:
        return None
    found: IntArray = pc.fill_null(lengths, 0).to_numpy().astype(np.int64)
    return found


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def check_count(rows: int, most: int) -> None:
    """Raise HttpError 413 for too many candidates."""
    if rows > most:
        raise HttpError(
            413,
            "too_many_candidates",
            f"{rows:,} candidates; send at most {most:,} per request",
            field="candidates",
        )


def unknown_column(name: str, place: str, inputs: Mapping[str, Input]) -> HttpError:
    """Return the error for a column that the model does not read."""
    hint = nearest(name, list(inputs))
    return HttpError(
        422,
        "unknown_column",
        f"{place}.{name}: the model reads no such column; {hint}",
        field=f"{place}.{name}",
    )


def arrow_column(name: str, one: Input, values: Sequence[Any], place: str) -> pa.Array:
    """Return JSON values as an Arrow column of the type that the model reads.

    Raises HttpError for values that are not of one type.
    """
    try:
        if one.type is not None:
            return pa.array(values, _TYPES[one.type])
        found = pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise invalid(f"{place}.{name}: values of different types ({reason})", name) from error
    return found if not pa.types.is_null(_leaf(found.type)) else found.cast(_empty_type(one))


_TYPES = {
    str(kind): kind
    for kind in (
        pa.int64(),
        pa.float32(),
        pa.list_(pa.int64()),
        pa.list_(pa.float32()),
    )
}


def _leaf(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) else kind


def _empty_type(one: Input) -> pa.DataType:
    """Return a type for a column without values."""
    leaf = pa.int64() if one.kind in ("id", "ids") else pa.float64()
    if one.is_list:
        return pa.list_(leaf)
    return pa.string() if one.kind in ("ids", "weights") else leaf


def table(columns: Mapping[str, pa.Array], rows: int) -> pa.Table:
    """Return a table that keeps its number of rows without columns."""
    if columns:
        return pa.table(dict(columns))
    return pa.Table.from_struct_array(pa.array([{}] * rows, pa.struct([])))
