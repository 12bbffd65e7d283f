"""Reads a ranking request from JSON, by a msgspec type that is made of the model's inputs.

msgspec checks every value while it parses, and names the place of the first that does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from msgspec import UNSET, Meta, UnsetType, defstruct
from msgspec.structs import astuple

from pipeline.scoring.inputs import Input
from pipeline.serving.http.answers import HttpError, invalid
from pipeline.serving.http.decode import decode
from pipeline.serving.rank.request import (
    ID,
    Limits,
    RankRequest,
    arrow_column,
    check_count,
    table,
    unknown_column,
)

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Id = _Int64 | float | str | bool | None
_KEY_INPUT = Input("key", "id", "item", False, None)
"""A key of a store that the model does not read."""


class JsonReader:
    """Reads requests for one model."""

    def __init__(self, inputs: Sequence[Input], limits: Limits, keys: Sequence[str] = ()) -> None:
        """Read the columns of a model, and the keys of a feature store."""
        self.inputs = {one.name: one for one in inputs}
        self.columns = {key: _KEY_INPUT for key in keys} | self.inputs
        """What a request may have."""
        self.limits = limits
        self._names = [*self.columns, *([] if ID in self.columns else [ID])]
        self.type = _request_type(self.columns, self._names)
        """The msgspec type of a request's body."""
        self._decoder = msgspec.json.Decoder(self.type)

    def read(self, body: bytes) -> RankRequest:
        """Return the request. Raises HttpError, naming the first place that does not fit."""
        found = self._decode(body)
        items, rows, ids = self._items(found)
        return RankRequest(self._shared(found), table(items, rows), ids, found.sort, found.top)

    def read_shared(self, body: bytes) -> tuple[pa.Table, bool, int | None]:
        """Return columns of the request, and `sort` and `top`, of a body without candidates."""
        found = self._decode(body)
        if found.candidates is not UNSET or found.columns is not UNSET:
            raise invalid("the candidates are the rows of the table", "candidates")
        return self._shared(found), found.sort, found.top

    def example(self, candidates: int = 2) -> bytes:
        """Return a request with a plain value in every column."""
        shared = {one.name: _example(one) for one in self.inputs.values() if one.group == "user"}
        each = {one.name: _example(one) for one in self.inputs.values() if one.group != "user"}
        return msgspec.json.encode({"user": shared, "candidates": [each] * candidates})

    def unknown_column(self, name: str, place: str) -> HttpError:
        """Return the error for a column that the model does not read."""
        return unknown_column(name, place, self.columns)

    def _decode(self, body: bytes) -> Any:
        return decode(
            self._decoder, body, lambda name, at: self.unknown_column(name, at) if at else None
        )

    def _shared(self, found: Any) -> pa.Table:
        user, context = self._one(found.user, "user"), self._one(found.context, "context")
        for name in user.keys() & context.keys():
            raise invalid(f"column {name!r} is given in user and in context", f"context.{name}")
        return table({**user, **context}, 1)

    def _one(self, values: Any, place: str) -> dict[str, pa.Array]:
        if values is UNSET:
            return {}
        return {
            name: arrow_column(name, one, [value], place)
            for (name, one), value in zip(self.columns.items(), astuple(values), strict=True)
            if value is not UNSET
        }

    def _items(self, found: Any) -> tuple[dict[str, pa.Array], int, pa.Array | None]:
        if (found.candidates is UNSET) == (found.columns is UNSET):
            raise invalid("give either 'candidates' or 'columns'", "candidates")
        if found.columns is UNSET:
            check_count(len(found.candidates), self.limits.candidates)
            given = self._transposed(found.candidates)
            rows = len(found.candidates)
        else:
            given = {
                name: values
                for name, values in zip(self._names, astuple(found.columns), strict=True)
                if values is not UNSET
            }
            rows = _length(given)
            check_count(rows, self.limits.candidates)
        ids = None if ID in self.columns or ID not in given else _ids(given.pop(ID))
        columns = {
            name: arrow_column(name, self.columns[name], values, "candidates")
            for name, values in given.items()
        }
        return columns, rows, ids

    def _transposed(self, candidates: Sequence[Any]) -> dict[str, Sequence[Any]]:
        """Return columns of candidates. Raises HttpError if one lacks a column of the others."""
        found: dict[str, Sequence[Any]] = {}
        rows = map(astuple, candidates)
        for name, values in zip(self._names, zip(*rows, strict=True), strict=False):
            absent = values.count(UNSET)
            if absent == len(values):
                continue
            if absent:
                place = f"candidates[{values.index(UNSET)}].{name}"
                raise HttpError(
                    422,
                    "missing_column",
                    f"{place}: is missing, other candidates have it; give null for no value",
                    field=place,
                )
            found[name] = values
        return found


def _length(columns: Mapping[str, Sequence[Any]]) -> int:
    lengths = {name: len(values) for name, values in columns.items()}
    first = next(iter(lengths), None)
    for name, length in lengths.items():
        if length != lengths[first or name]:
            raise invalid(
                f"columns.{name}: has {length} values, {first!r} has {lengths[first or name]}",
                f"columns.{name}",
            )
    return lengths[first] if first is not None else 0


def _ids(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise invalid("candidates.id: values of different types", "candidates.id") from error


def _request_type(inputs: Mapping[str, Input], names: Sequence[str]) -> Any:
    types = {name: value_type(one) for name, one in inputs.items()} | (
        {} if ID in inputs else {ID: _Int64 | str | None}
    )
    shared = {name: types[name] for name in inputs}
    candidate = _struct("Candidate", {name: types[name] for name in names})
    columns = _struct("Columns", {name: _list_of(types[name]) for name in names})
    fields: list[tuple[str, Any, Any]] = [
        ("user", _struct("User", shared) | UnsetType, UNSET),
        ("context", _struct("Context", shared) | UnsetType, UNSET),
        ("candidates", _list_of(candidate) | UnsetType, UNSET),
        ("columns", columns | UnsetType, UNSET),
        ("sort", bool, False),
        ("top", Annotated[int, Meta(ge=0)] | None, None),
    ]
    return defstruct("RankRequest", fields, forbid_unknown_fields=True)


def _struct(title: str, types: Mapping[str, Any]) -> Any:
    """Return a type with optional fields; names of columns may be any text."""
    fields = [(f"f{n}", kind | UnsetType, UNSET) for n, kind in enumerate(types.values())]
    rename = {f"f{n}": name for n, name in enumerate(types)}
    return defstruct(title, fields, rename=rename, forbid_unknown_fields=True)


def _list_of(kind: Any) -> Any:
    return list.__class_getitem__(kind)


def value_type(one: Input) -> Any:
    """Return the Python type of a column's values."""
    if one.type is None and not one.is_list:
        texts = one.kind in ("ids", "weights")  # lists as text, with a separator
        return str | None if texts else _Id if one.kind == "id" else float | None
    leaf: Any = float if one.kind in ("number", "weights") else _Int64
    if one.type is None and one.kind == "ids":
        leaf = _Int64 | str | None
    return list[leaf] | None if one.is_list else leaf | None


def _example(one: Input) -> Any:
    """Return a value that every model takes: none, or the first row of a table."""
    if one.type is None:
        return None
    if one.is_list:
        return []
    return 0.0 if one.kind == "number" else 0
