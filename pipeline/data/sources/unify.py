"""One type per column over the files of all writers."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from pipeline.io.errors import UserError

_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_LARGEST_INT64 = 18
"""Digits that always fit."""


def canonical(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that columns of type `kind` are read as; None for types that no column can
    have: structs, maps, binary, times of day, durations, lists of lists.

    Integers become int64 (uint64 stays), floats float64, decimals int64 without and float64 with
    decimal places, text and categories large_string or the type of the categories, lists
    large_list, timestamps microseconds (nanoseconds stay), dates date32.
    """
    if pa.types.is_dictionary(kind):
        return canonical(kind.value_type)
    if any(test(kind) for test in _LISTS):
        inner = canonical(kind.value_type)
        return None if inner is None or pa.types.is_large_list(inner) else pa.large_list(inner)
    if any(test(kind) for test in _STRINGS):
        return pa.large_string()
    if pa.types.is_integer(kind):
        return kind if kind == pa.uint64() else pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_decimal(kind):
        return pa.float64() if kind.scale > 0 else pa.int64()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" else "us", kind.tz)
    if pa.types.is_date(kind):
        return pa.date32()
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return kind
    return None


def unify(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """Return the type for columns of two canonical types; None if there is none.

    Nulls fit everything. int64 and uint64 become uint64, whole numbers and float64 float64,
    timestamps the finer unit (UTC if their zones differ), lists unify their values.
    """
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_large_list(first) and pa.types.is_large_list(second):
        inner = unify(first.value_type, second.value_type)
        return None if inner is None else pa.large_list(inner)
    numbers = (pa.int64(), pa.uint64(), pa.float64())
    if first in numbers and second in numbers:
        return pa.float64() if pa.float64() in (first, second) else pa.uint64()
    if pa.types.is_timestamp(first) and pa.types.is_timestamp(second):
        if (first.tz is None) != (second.tz is None):
            return None
        unit = "ns" if "ns" in (first.unit, second.unit) else "us"
        return pa.timestamp(unit, first.tz if first.tz == second.tz else "UTC")
    return None


def settled(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column: values of lists without any value are text."""
    if pa.types.is_large_list(kind):
        inner = pa.large_string() if pa.types.is_null(kind.value_type) else kind.value_type
        return pa.large_list(settled(inner))
    return kind


def describe(kind: pa.DataType) -> str:
    """Return the name of a canonical type, for messages."""
    if pa.types.is_large_list(kind):
        return f"a list of {describe(kind.value_type)}"
    if pa.types.is_timestamp(kind):
        return "a timestamp " + (f"in {kind.tz}" if kind.tz else "without time zone")
    return "text" if kind == pa.large_string() else str(kind)


def cast(
    column: pa.ChunkedArray, kind: pa.DataType, name: str, locate: Callable[[int], str]
) -> pa.ChunkedArray:
    """Cast a column without changing a value. Raises UserError, naming the row."""
    try:
        return column if column.type == kind else column.cast(kind)
    except pa.ArrowInvalid as error:
        row = _first_fault(column, lambda part: part.cast(kind))
        raise UserError(
            f"{locate(row)}, column {name!r}: {column[row].as_py()} cannot be stored as "
            f"{describe(kind)} without loss; correct the value, or write the column with one type "
            "in all files"
        ) from error


def is_coded_text(kind: pa.DataType) -> bool:
    """Whether a column is text with a dictionary."""
    return pa.types.is_dictionary(kind) and canonical(kind) == pa.large_string()


def check(column: pa.ChunkedArray, name: str, locate: Callable[[int], str]) -> pa.ChunkedArray:
    """Return the column. Raises UserError for text that is not UTF-8, which some writers let pass,
    and for damage."""
    try:
        column.validate(full=True)
        return column
    except pa.ArrowInvalid as error:
        if pa.types.is_dictionary(column.type):  # perhaps in a value that no row has
            return check(column.cast(column.type.value_type), name, locate)
        if "UTF8" not in str(error):  # offsets behind the end: no row can be read
            raise UserError(
                f"{locate(0)}, column {name!r}: damaged from here on; write the file again"
            ) from error
        row = _first_fault(column, lambda part: part.validate(full=True))
        raise UserError(
            f"{locate(row)}, column {name!r}: text that is not UTF-8; write the file again"
        ) from error


def _first_fault(column: pa.ChunkedArray, test: Callable[[pa.ChunkedArray], object]) -> int:
    """Return the first row for which `test` raises ArrowInvalid."""
    first, end = 0, len(column)
    while end - first > 1:
        middle = (first + end) // 2
        try:
            # take, not slice: the values of a slice of lists are those of all lists
            test(column.take(pa.array(range(first, middle))))
        except pa.ArrowInvalid:
            end = middle
        else:
            first = middle
    return first
