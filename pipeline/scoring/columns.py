"""Columns of a prepared folder to table rows and numbers, with checks of every value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from embeddings.input_layer import IdRange, InputLayer
from pipeline.data.column_values import (
    Locate,
    integers,
    list_lengths,
    list_weights,
    numbers,
    reject,
)
from pipeline.data.schema import SparseFeature
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError
from pipeline.scoring.manifest import Manifest, TableRecord

_FROM_OTHER_DATA = "give data that was prepared as the training data was"


@dataclass(frozen=True, slots=True)
class Ids:
    """Table rows of a feature."""

    values_L: Tensor
    """int64 [L], by row."""
    lengths_B: Tensor | None = None
    """Number of values of each row; None: one."""
    weights_L: Tensor | None = None
    """float32 weights of the values."""


def column_types(manifest: Manifest) -> dict[str, pa.DataType]:
    """Return the columns of a prepared folder that the model reads, and their types."""
    kinds: dict[str, pa.DataType] = {}
    for feature in manifest.sparse:
        kinds[feature.column] = pa.list_(pa.int64()) if feature.multi else pa.int64()
        if feature.weights is not None:
            kinds[feature.weights] = pa.list_(pa.float32())
    return kinds | {number.column: pa.float32() for number in manifest.dense}


Columns = Mapping[str, pa.ChunkedArray]


def columns_of(table: pa.Table) -> Columns:
    """Return the columns of a table by name: a table searches its names at every access."""
    return dict(zip(table.column_names, table.columns, strict=True))


class Decoder:
    """Decodes columns, and counts ids outside the vocabularies."""

    def __init__(self, manifest: Manifest) -> None:
        self._table_of = {one.name: one for one in manifest.tables}
        self._types = column_types(manifest)
        self._dense = manifest.dense
        ids = {
            feature.name: IdRange(table.vocab_size, table.hash_rows)
            for feature in manifest.sparse
            for table in [self._table_of[feature.table]]
        }
        self._layer = InputLayer(ids, [(one.mean, one.std) for one in manifest.dense])

    def column(self, columns: Columns, name: str) -> pa.ChunkedArray:
        """Return a column with the type that the model reads."""
        if name not in columns:
            raise UserError(f"no column {name!r}, which the model needs; add it")
        column = columns[name]
        try:
            return column if column.type == self._types[name] else column.cast(self._types[name])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"column {name!r}: {column.type} cannot be read as {self._types[name]} ({reason}); "
                f"{_FROM_OTHER_DATA}"
            ) from error

    def ids(
        self, columns: Columns, feature: SparseFeature, unknown: Counter[str], locate: Locate
    ) -> Ids:
        """Return the rows of a feature's table."""
        column = self.column(columns, feature.column)
        if not feature.multi:
            return Ids(self._fold(integers(column), feature, locate, unknown))
        lengths = _lengths(column)
        weights = None
        if feature.weights is not None:
            of_weights = self.column(columns, feature.weights)
            weights = torch.from_numpy(
                list_weights(of_weights, lengths, feature.weights, feature, locate)
                if len(column)
                else np.empty(0, np.float32)
            )
        values = [integers(chunk.flatten()) for chunk in column.chunks]
        flat = np.concatenate(values) if values else np.empty(0, np.int64)

        def locate_value(index: int) -> str:
            return locate(int(np.searchsorted(lengths.cumsum(), index, side="right")))

        folded = self._fold(flat, feature, locate_value, unknown)
        return Ids(folded, torch.from_numpy(lengths), weights)

    def numbers(
        self, columns: Columns, num_rows: int, locate: Locate, request: Columns | None = None
    ) -> Tensor:
        """Return normalized numbers [B, N], of `columns`, or else of a request."""
        dense_NB = np.empty((len(self._dense), num_rows), dtype=np.float32)
        for number, out in zip(self._dense, dense_NB, strict=True):
            found = columns if request is None or number.column in columns else request
            out[:] = numbers(self.column(found, number.column), number, locate)
        return self._layer.normalize_columns(torch.from_numpy(dense_NB))

    def _fold(
        self,
        values: IntArray,
        feature: SparseFeature,
        locate: Locate,
        unknown: Counter[str],
    ) -> Tensor:
        """Return table rows of ids; ids outside the vocabulary share its hash rows."""
        table = self._table_of[feature.table]
        # As unsigned numbers, negative ids are huge: one pass finds both kinds of invalid ids.
        if not values.size or values.view(np.uint64).max() < table.vocab_size:
            return torch.from_numpy(values if values.flags.writeable else values.copy())
        if values.min() < 0:
            at = int(np.argmax(values < 0))
            reject(locate(at), feature.column, values[at], "a negative index", _FROM_OTHER_DATA)
        outside = values >= table.vocab_size
        unknown[feature.name] += int(np.count_nonzero(outside))
        if not table.hash_rows:
            at = int(np.argmax(outside))
            _reject_unknown(locate(at), feature, table, int(values[at]))
        return self._layer.fold(feature.name, torch.from_numpy(values.copy()))


def _lengths(column: pa.ChunkedArray) -> IntArray:
    return list_lengths(column) if column.num_chunks else np.empty(0, np.int64)


def row_text(index: int) -> str:
    """Return how a row of a table without a file is named."""
    return f"row {index} (from 0)"


def _reject_unknown(where: str, feature: SparseFeature, table: TableRecord, value: int) -> None:
    reject(
        where,
        feature.column,
        value,
        f"outside the vocabulary of table {table.name!r} ({table.vocab_size} rows), which has no "
        "hash rows",
        "give known ids, or train with --embeddings.hash_rows",
    )
