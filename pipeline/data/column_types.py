"""Casts the columns of files to the types of batches.

Writers use different widths (int32, double), layouts (large lists, fixed-size lists, dictionaries)
and nullability, even within one split. None of this changes a value, so the columns of each file
are cast before they are concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from pipeline.io.errors import UserError

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_NUMBERS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_decimal128,
    pa.types.is_decimal256,
    pa.types.is_null,
)


def is_castable(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether a column of type `found` can be cast to `expected`, a number or a list of numbers.
    Individual values may still be invalid: 1.5 is not an id."""
    if pa.types.is_dictionary(found):
        return is_castable(found.value_type, expected)
    if not pa.types.is_list(expected):
        return any(test(found) for test in _NUMBERS)
    if pa.types.is_null(found):
        return True
    return any(test(found) for test in _LISTS) and is_castable(
        found.value_type, expected.value_type
    )


def cast(
    table: pa.Table, types: Mapping[str, pa.DataType], locate: Callable[[int], str], remedy: str
) -> pa.Table:
    """Return the columns `types` of `table`, in this order and with these types.

    Raises UserError, naming the row, for a value that cannot be cast; numbers too large for float32
    become infinite.
    """
    columns = []
    for name, kind in types.items():
        column = table[name]
        if column.type != kind:
            try:
                column = _cast(column, kind)
            except pa.ArrowInvalid as error:
                row = _first_fault(column, kind)
                raise UserError(
                    f"{locate(row)}, column {name!r}: {column[row].as_py()} is not "
                    f"{_NOUNS[pa.types.is_list(kind)]}; {remedy}"
                ) from error
        columns.append(column)
    return pa.table(columns, names=list(types))


_NOUNS = {False: "a whole number of 64 bits", True: "a list of whole numbers of 64 bits"}


def _is_float(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    # Rounding to float32 is allowed, which is sufficient for numbers and labels.
    return column.cast(kind, safe=not _is_float(kind))


def _first_fault(column: pa.ChunkedArray, kind: pa.DataType) -> int:
    """Return the first row that cannot be cast."""
    first, end = 0, len(column)
    while end - first > 1:
        middle = (first + end) // 2
        try:
            # Use take, not slice: casting a slice also casts the values of its other lists.
            _cast(column.take(pa.array(range(first, middle))), kind)
        except pa.ArrowInvalid:
            end = middle
        else:
            first = middle
    return first
