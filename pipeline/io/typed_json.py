"""JSON files as types with bounds: what is read back is as it was written, or one line says where
not.

    @with_config(CLOSED)
    class Best(TypedDict):
        step: Count

    best = read_typed(path, Best, remedy="remove it")     # a plain dict

A type is a TypedDict, `OPEN` to keys that it does not name or `CLOSED` to them.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from embeddings.strict_json import DuplicateKey, check_keys
from pipeline.io.errors import UserError
from pipeline.io.files import read_text
from pipeline.io.storage import AnyPath

OPEN = ConfigDict(extra="allow")
CLOSED = ConfigDict(extra="forbid")
"""For `pydantic.with_config`."""
LIMIT = 2**53
"""Beyond any count, and exact in every reader of JSON."""

Count = Annotated[int, Field(ge=0, lt=LIMIT)]
"""Rows, bytes, steps, the number of a rank."""
Number = Annotated[int, Field(gt=-LIMIT, lt=LIMIT)] | FiniteFloat
"""A measured value."""
Time = Annotated[FiniteFloat, Field(ge=0, lt=1e11)]
"""Seconds since 1970, up to the year 5138; or a duration in seconds."""

_SHOWN = 60


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_typed(path: AnyPath, kind: Any, *, remedy: str) -> Any:
    """The JSON value in a file. UserError in one line, ending with `remedy`, if it is no `kind`."""
    return parse_typed(read_text(path, remedy=remedy), kind, where=str(path), remedy=remedy)


def parse_typed(text: str, kind: Any, *, where: str, remedy: str) -> Any:
    """The same of a text; `where` names it."""
    try:
        check_keys(text)
        return _adapter(kind).validate_json(text, strict=True)
    except DuplicateKey as error:
        raise UserError(f"{where}: {error}; {remedy}") from error
    except ValidationError as error:
        raise UserError(f"{where}: {fault(error)}; {remedy}") from error


def check_typed(value: Any, kind: Any) -> Any:
    """A value that was parsed before. ValueError, in one line, if it is no `kind`."""
    try:
        return _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(fault(error)) from error


def fault(error: ValidationError) -> str:
    """The first fault in one line: its place, the value, what is wrong."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"not JSON ({first['ctx']['error']})"
    # The branches of a union are in the place, too: a reader of the file does not know them.
    place = ".".join(
        str(key) for key in first["loc"] if not set("[(") & set(str(key)) and key not in _BRANCHES
    )
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] in ("missing", "value_error"):
        return ": ".join(filter(None, (place, message.lower())))
    if "constrained-int" in first["loc"]:  # the first branch of Number
        message = "a finite number"
    shown = repr(first["input"])
    shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
    return ": ".join(filter(None, (place, f"{shown} is not {message}")))


_BRANCHES = ("constrained-int", "int", "float", "str")
