"""Columns of Hive partitions: folders named COLUMN=VALUE."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

import pyarrow as pa

_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def partitions_of(path: str) -> dict[str, str | None]:
    """Return the values in the folders of `path`, as written in the configuration and below it."""
    values: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, separator, value = folder.partition("=")
        if separator and name:
            text = unquote(value)
            values[unquote(name)] = None if text == _NULL else text
    return values


def partition_type(values: Iterable[str | None]) -> pa.DataType:
    """Return int64 if all values are whole numbers, else text."""
    known = [value for value in values if value is not None]
    if known and all(_WHOLE.fullmatch(value) for value in known):
        return pa.int64()
    return pa.large_string()
