"""Reads YAML and JSON files of the planner, with one-line errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from embeddings.number_types import Place, misplaced_bool
from embeddings.quoted import quoted
from embeddings.regular_file import other_than_file
from embeddings.strict_json import parse_json
from embeddings.strict_yaml import parse_yaml

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises ValueError in one line if there is none."""
    text = _read_text(path, "name a YAML file")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: a {type(value).__name__}; give a mapping of fields to values")
    return value


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one for any other value.

    Raises ValueError in one line, ending with `remedy`, if the file cannot be read or is not JSON.
    """
    text = _read_text(path, remedy)
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from error
    return value if isinstance(value, dict) else {}


def _read_text(path: Path, remedy: str) -> str:
    if found := other_than_file(path):
        raise ValueError(f"{path}: is {found}, not a file; {remedy}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {remedy}") from error


def validate(
    model: type[ModelT],
    value: Mapping[str, Any],
    source: Path | str,
    names: Mapping[Place, str] | None = None,
) -> ModelT:
    """Validate `value` as `model`. Raises ValueError in one line for the first error.

    `names`: names of places in error messages, by their first keys.
    """
    if place := misplaced_bool(model, value):
        where = _where(source, place, names or {})
        raise ValueError(f"{where}: true or false where a number is needed (yes and on are true)")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # A list with an invalid entry counts as too short, too.
        places = [fault["loc"] for fault in faults]
        faults = [
            fault
            for fault in faults
            if fault["type"] != "too_short"
            or not any(_within(place, fault["loc"]) for place in places)
        ]
        first = faults[0]
        where = _where(source, first["loc"], names or {})
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "no such field; fields: " + ", ".join(_fields_at(model, first["loc"]))
        elif first["type"] not in ("missing", "value_error"):
            message = f"{quoted(first['input'])}: {message}"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ValueError(f"{where}: {message}{more}") from error


def _within(place: Place, outer: Place) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _where(source: Path | str, place: Place, names: Mapping[Place, str]) -> str:
    where = [str(source)]
    for length in range(len(place), 0, -1):
        if place[:length] in names:
            where.append(names[place[:length]])
            place = place[length:]
            break
    # A union's branches are in the path too; users know only the field.
    field = ".".join(str(key) for key in place if "[" not in str(key) and key != "float")
    return ": ".join([*where, *([field] if field else [])])


def _fields_at(model: type[BaseModel], place: Place) -> list[str]:
    """Return the fields of the model with the unknown key at the end of `place`."""
    inner: Any = model
    for key in place[:-1]:
        if isinstance(key, str) and key in inner.model_fields:
            inner = inner.model_fields[key].annotation
        arguments = getattr(inner, "__args__", ())
        inner = next((a for a in arguments if hasattr(a, "model_fields")), inner)
    return list(inner.model_fields)
