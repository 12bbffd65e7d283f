"""Decodes JSON bodies by their msgspec type; errors name the place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from pipeline.io.errors import nearest
from pipeline.serving.http.answers import HttpError, invalid

_T = TypeVar("_T")
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
Unknown = Callable[[str, str], HttpError | None]
"""The error for a field that is not known at a place of the body; None: as usual."""


def decode(
    decoder: msgspec.json.Decoder[_T], body: bytes, unknown: Unknown = lambda name, where: None
) -> _T:
    """Return the body. Raises HttpError 400 if it is no JSON, 422 if it has another type."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _named(str(error), decoder, unknown) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, "malformed_json", f"the body is not valid JSON: {error}") from error


def _named(message: str, decoder: msgspec.json.Decoder[_T], unknown: Unknown) -> HttpError:
    """Return a msgspec message as ours, with the place of the value."""
    match = _PLACE.match(message)
    assert match is not None
    what, where = match["what"], match["where"] or ""
    if (found := _UNKNOWN.match(what)) is not None:
        name = found[1]
        type_: Any = decoder.type
        fields = [one.encode_name for one in msgspec.structs.fields(type_)]
        known = f"{name}: the request has no such field; {nearest(name, fields)}"
        return unknown(name, where) or invalid(known, f"{where}.{name}".lstrip("."))
    return invalid(f"{where or 'the body'}: {what}", where or None)
