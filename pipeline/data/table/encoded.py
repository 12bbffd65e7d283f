"""Encodes chunks of a table to the columns of a prepared folder."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pyarrow as pa

from pipeline.data.schema import SPLITS
from pipeline.data.table.table_rows import Table
from pipeline.features.distinct import Rows
from pipeline.features.fitted import Fitted
from pipeline.features.program import USER, WEIGHT, label_column, weights_column


def column_types(table: Table) -> dict[str, pa.DataType]:
    """Return the columns of a prepared folder, in order."""
    types: dict[str, pa.DataType] = {}
    for name, feature in table.spec.features.items():
        if feature.type == "number":
            types[name] = pa.float32()
        else:
            types[name] = pa.int64() if feature.type == "id" else pa.list_(pa.int64())
        if feature.type == "weighted_ids":
            types[weights_column(name)] = pa.list_(pa.float32())
    types |= {label_column(task): pa.float32() for task in table.spec.labels}
    if table.spec.user is not None:
        types[USER] = pa.int64()
    if table.spec.weight is not None:
        types[WEIGHT] = pa.float32()
    return types


def encode_chunk(table: Table, fitted: Fitted, index: int) -> list[pa.Table]:
    """Return the encoded rows of a chunk for each split."""
    found = table.read(index)
    rows = found.rows
    if (found.splits[1:] < found.splits[:-1]).any():
        rows = rows.take(np.argsort(found.splits, kind="stable").astype(np.uint32))
    encoded = encode(table, fitted, rows)
    counts = np.bincount(found.splits, minlength=len(SPLITS)).tolist()
    starts = accumulate(counts, initial=0)
    return [encoded.slice(start, count) for start, count in zip(starts, counts, strict=False)]


def encode_split(table: Table, fitted: Fitted, index: int, split: int) -> pa.Table:
    """Return the encoded rows of a chunk for one split."""
    found = table.read(index)
    return encode(table, fitted, found.rows.filter(found.splits == split))


def encode(table: Table, fitted: Fitted, rows: Rows) -> pa.Table:
    """Return good rows, encoded, in their order."""
    encoded = table.program.index(table.program.raw_columns(rows), fitted)
    wanted = pa.schema(column_types(table))
    columns = []
    for kind in wanted:
        column = encoded[kind.name].series.to_arrow()
        if pa.types.is_list(kind.type):
            # Not by a cast: Arrow 26 keeps offsets beyond the values of some empty lists.
            offsets = column.offsets.to_numpy()
            column = pa.ListArray.from_arrays(
                pa.array((offsets - offsets[0]).astype(np.int32)), column.flatten()
            )
        columns.append(column.cast(kind.type))
    return pa.table(columns, schema=wanted)
