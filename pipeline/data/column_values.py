"""Checks the values of Arrow columns and converts them to NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.schema import AGAIN, DenseFeature, Label, SparseFeature
from pipeline.io.arrays import Float32Array, IntArray
from pipeline.io.errors import UserError

Locate = Callable[[int], str]
"""Maps a row of the decoded table to 'FILE: row R', for error messages."""


def take(values: NDArray[Any], order: IntArray, out: NDArray[Any]) -> None:
    """Write `values[order]`, converted to the type of `out`."""
    np.take(values.astype(out.dtype, copy=False), order, out=out, mode="clip")  # no buffer


def integers(column: pa.Array | pa.ChunkedArray) -> IntArray:
    """Convert to NumPy with null as 0, the index for 'missing'. May share Arrow's memory."""
    return (column.fill_null(0) if column.null_count else column).to_numpy(zero_copy_only=False)


def numbers(column: pa.ChunkedArray, feature: DenseFeature, locate: Locate) -> Float32Array:
    """Convert to NumPy with null as NaN."""
    values: Float32Array = column.to_numpy()  # null becomes NaN
    what, remedy = "not a finite number", "use null for missing values, and " + AGAIN
    _check_known(column, values, np.isfinite(values), feature.column, what, remedy, locate)
    return values


def targets(column: pa.ChunkedArray, task: Label, locate: Locate) -> Float32Array:
    """Convert to NumPy with null as NaN."""
    values: Float32Array = column.to_numpy()
    what = f"not a label (0 or 1) of task {task.name!r}"
    remedy = "use null for missing labels, and " + AGAIN
    known = (values == 0) | (values == 1)
    _check_known(column, values, known, task.column, what, remedy, locate)
    return values


def probabilities(column: pa.ChunkedArray, name: str, locate: Locate) -> Float32Array:
    """Convert to NumPy with null as NaN."""
    values: Float32Array = column.to_numpy()
    what, remedy = "not a true probability (from 0 to 1)", "use null for unknown ones, and " + AGAIN
    _check_known(column, values, (values >= 0) & (values <= 1), name, what, remedy, locate)
    return values


def _check_known(
    column: pa.ChunkedArray,
    values: Float32Array,
    known: NDArray[np.bool_],
    name: str,
    what: str,
    remedy: str,
    locate: Locate,
) -> None:
    """Reject the first value that is neither `known` nor null."""
    if len(values) - np.count_nonzero(known) > column.null_count:
        index = int(np.argmin(known | column.is_null().to_numpy()))
        reject(locate(index), name, values[index], what, remedy)


def row_weights(column: pa.ChunkedArray, name: str, locate: Locate) -> Float32Array:
    """Convert to NumPy; a null is an error, too."""
    values: Float32Array = column.to_numpy()
    valid = np.isfinite(values) & (values >= 0)
    if not valid.all():
        index = int(np.argmin(valid))
        value = column[index].as_py()
        reject(
            locate(index),
            name,
            "null" if value is None else value,
            "not a row weight (a finite number from 0)",
            "give every row one, and " + AGAIN,
        )
    return values


def list_lengths(column: pa.ChunkedArray) -> IntArray:
    """Return the number of values in each row, 0 for a null list."""
    return np.concatenate(
        [integers(pc.list_value_length(chunk)) for chunk in column.chunks], dtype=np.int64
    )


def list_weights(
    column: pa.ChunkedArray, lengths: IntArray, name: str, feature: SparseFeature, locate: Locate
) -> Float32Array:
    """Return the weights of all values; rows must have as many as values (`lengths`)."""
    found = list_lengths(column)
    if (wrong := np.flatnonzero(found != lengths)).size:
        row = int(wrong[0])
        reject(
            locate(row),
            name,
            int(found[row]),
            f"its number of weights, but {feature.column!r} has {int(lengths[row])} values",
            "give each value one weight, and " + AGAIN,
        )
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = np.concatenate(chunks, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        index = int(np.argmin(finite))
        row = int(np.searchsorted(lengths.cumsum(), index, side="right"))
        reject(
            locate(row),
            name,
            column[row].as_py(),
            "a list with a weight that is not a finite number",
            "give each value one weight, and " + AGAIN,
        )
    return values


def reject(where: str, column: str, value: object, what: str, remedy: str) -> NoReturn:
    raise UserError(f"{where}, column {column!r}: {value} is {what}; {remedy}")
