"""Numbers in files: pydantic takes true for 1, and YAML takes yes and on for true."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""


def misplaced_bool(model: type[BaseModel], value: Any) -> Place | None:
    """Where `value`, to be validated as `model`, has true or false for a number; None: nowhere."""
    for path in _bools(value, ()):
        kinds = _kinds(model, path)
        if kinds & {int, float} and not kinds & {bool, Literal, Any}:
            return path
    return None


def _bools(value: Any, path: Place) -> Iterator[Place]:
    if isinstance(value, bool):
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _bools(inner, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _bools(inner, (*path, index))


def _kinds(annotation: Any, path: Place) -> set[Any]:
    """The types that a value at `path` may be of; none where nothing may be there."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kinds(args[0], path)
    if origin in (Union, types.UnionType):
        return {kind for part in args for kind in _kinds(part, path)}
    if not path:
        return {origin or annotation}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _kinds(args[1], path[1:])
    if isinstance(origin, type) and isinstance(path[0], int):
        return {kind for part in args if part is not ... for kind in _kinds(part, path[1:])}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(path[0]))
        return set() if field is None else _kinds(field.annotation, path[1:])
    return set()
