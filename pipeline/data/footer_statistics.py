"""Minima and maxima of a Parquet file's columns, read from its footer.

pyarrow has them, too, but ends the process for some damaged footers: neither
`RowGroupMetaData.column()` nor `FileMetaData.write_metadata_file()` catches what C++ throws. So
the footer, Thrift in its compact protocol, is read by the few lines below.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from pipeline.io.parquet_input import open_input

_FORMATS = {"BOOLEAN": "<?", "INT32": "<i", "INT64": "<q", "FLOAT": "<f", "DOUBLE": "<d"}

# Types of the compact protocol.
_INTEGERS = (4, 5, 6)
_DOUBLE, _BINARY, _LIST, _STRUCT = 7, 8, 9, 12
# Numbers of fields in parquet.thrift.
_ROW_GROUPS = 4  # of FileMetaData
_COLUMNS = 1  # of RowGroup
_META_DATA = 3  # of ColumnChunk
_NUM_VALUES, _STATISTICS = 5, 12  # of ColumnMetaData
_OLD_MAX, _OLD_MIN, _NULL_COUNT, _MAX, _MIN = 1, 2, 3, 5, 6  # of Statistics
# Raised by the lines below for what is not Thrift, or not that of a footer.
_DAMAGED = (OSError, LookupError, AttributeError, TypeError, ValueError, RecursionError)


class ColumnStatistics(NamedTuple):
    """What a footer says about one column of one row group."""

    name: str
    """The top-level column: of a list, that of its values."""
    limits: tuple[float, float] | None
    """None: all values are null."""


def footer_statistics(path: Path, footer: pq.FileMetaData) -> list[list[ColumnStatistics]]:
    """Return the statistics of each row group, without columns that have none.

    Damaged ones are left out, as good as they can be told: reading the columns says so.
    """
    columns = [_column(footer.schema.column(index)) for index in range(len(footer.schema))]
    found: list[list[ColumnStatistics]] = [[] for _ in range(footer.num_row_groups)]
    try:
        with open_input(path) as file:
            file.seek(file.size() - 8 - footer.serialized_size)
            thrift, _ = _struct(file.read(footer.serialized_size), 0)
        for group, into in zip(thrift[_ROW_GROUPS], found, strict=True):
            for column, chunk in zip(columns, group[_COLUMNS], strict=True):
                if one := _statistics(*column, chunk[_META_DATA]):
                    into.append(one)
    except _DAMAGED:
        return [[] for _ in found]
    return found


def _column(schema: pq.ColumnSchema) -> tuple[str, str]:
    """Return its name and the format of its values, "" for other types than plain numbers."""
    name = schema.path.partition(".")[0]
    if schema.logical_type.type not in ("NONE", "INT"):
        return name, ""
    form = _FORMATS.get(schema.physical_type, "")
    return name, form.upper() if schema.converted_type.startswith("UINT") else form


def _statistics(name: str, form: str, meta: dict[int, Any]) -> ColumnStatistics | None:
    stated = meta.get(_STATISTICS, {})
    low, high = stated.get(_MIN), stated.get(_MAX)
    if low is None and high is None:  # of old writers, for which unsigned numbers are signed
        low, high = stated.get(_OLD_MIN), stated.get(_OLD_MAX)
        form = form.lower()
    if low is None or high is None:
        all_null = stated.get(_NULL_COUNT, -1) >= meta[_NUM_VALUES]
        return ColumnStatistics(name, None) if all_null else None
    if not form or not len(low) == len(high) == struct.calcsize(form):
        return None
    return ColumnStatistics(name, (*struct.unpack(form, low), *struct.unpack(form, high)))


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the values of a struct, by the numbers of their fields, and where it ends.

    Numbers, of which footers are full, are read without calls.
    """
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        kind = head & 15
        if head > 15:
            number += head >> 4
        else:
            number, at = _integer(data, at)
        if kind in _INTEGERS and data[at] < 128:
            value = data[at]
            fields[number] = value >> 1 ^ -(value & 1)
            at += 1
        elif kind < 3:
            fields[number] = kind == 1
        else:
            fields[number], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _integer(data, at)
    if kind == _STRUCT:
        return _struct(data, at)
    if kind == _BINARY:
        size, at = _unsigned(data, at)
        return data[at : at + size], at + size
    if kind == _LIST:
        size, of = data[at] >> 4, data[at] & 15
        at += 1
        if size == 15:
            size, at = _unsigned(data, at)
        values = []
        for _ in range(size):
            value, at = _value(data, at, of)
            values.append(value)
        return values, at
    if kind == _DOUBLE:
        return data[at : at + 8], at + 8
    if kind > _INTEGERS[0]:
        raise ValueError(f"Thrift type {kind}, which footers do not have")
    return data[at], at + 1  # a byte, or true or false in a list


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return value >> 1 ^ -(value & 1), at


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    shift = value = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1
