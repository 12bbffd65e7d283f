"""Reads a ranking request from an Arrow IPC stream: one row per candidate.

The rest of the request, as JSON, is the schema's metadata `homerec.request`: user, context, sort,
top.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa

from pipeline.serving.http.answers import HttpError, invalid
from pipeline.serving.rank.arrow_size import check_uncompressed, plain
from pipeline.serving.rank.read_json import JsonReader
from pipeline.serving.rank.request import ID, RankRequest, check_count

METADATA = b"homerec.request"


def read_arrow(body: bytes, json: JsonReader) -> RankRequest:
    """Return the request. Raises HttpError, naming the first place that does not fit."""
    try:
        check_uncompressed(body)
        with pa.ipc.open_stream(body) as stream:
            table = stream.read_all()
        # Offsets that point outside a buffer would be read as they are.
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else "truncated"
        raise HttpError(400, "malformed_arrow", f"the body is no Arrow stream: {reason}") from error
    names = table.column_names
    for name in names:
        if name not in json.columns and name != ID:
            raise json.unknown_column(name, "candidates")
        if names.count(name) > 1:
            raise invalid(f"candidates.{name}: two columns have this name", f"candidates.{name}")
    check_count(len(table), json.limits.candidates)
    shared, sort, top = json.read_shared((table.schema.metadata or {}).get(METADATA, b"{}"))
    ids = None
    if ID in names and ID not in json.columns:
        ids = plain(table[ID], ID).combine_chunks()
        if not (pa.types.is_integer(ids.type) or pa.types.is_string(ids.type)):
            raise invalid(f"candidates.id: {ids.type}; send whole numbers or text", "candidates.id")
        table = table.drop_columns([ID])
    columns = {name: _finite(plain(table[name], name), name) for name in table.column_names}
    items = pa.table(columns) if columns else table
    return RankRequest(shared, items, ids, sort, top)


def _finite(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return the column. Raises HttpError for NaN and infinity."""
    if pa.types.is_floating(column.type):
        values = column.drop_null().to_numpy().astype(np.float64)
        if not np.isfinite(values).all():
            every = column.to_numpy().astype(np.float64)
            nulls = column.is_null().to_numpy()
            row = int(np.argmax(~np.isfinite(every) & ~nulls))
            place = f"candidates[{row}].{name}"
            raise invalid(f"{place}: {every[row]} is not a number; give null for no value", place)
    return column
