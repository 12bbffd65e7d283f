"""Requests made of the rows of a table: to try a server, and to measure it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.table import open_table
from pipeline.io.errors import UserError
from pipeline.scoring.inputs import Input

_PLAIN = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_null,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
)


def sample_requests(
    inputs: Mapping[str, Input], path: Path, number: int, candidates: int, seed: int = 0
) -> list[bytes]:
    """Return requests as JSON: a row's user, and candidates of random rows.

    Rows are those of the first part of the files `path`; with few of them, candidates repeat.

    Raises UserError if there is no row, or a column is missing.
    """
    table = open_table(FilesConfig(path=(str(path),)))
    table.require(list(inputs))
    chunk = next((one for one in table.chunks if one.rows), None)
    if chunk is None:
        raise UserError(f"{path}: has no rows; give a table with some")
    read = table.read(chunk, list(inputs))
    columns = {name: plain_column(read[name]).to_pylist() for name in inputs}
    # Columns whose group is not said are of the context: they may differ between candidates.
    shared = [name for name, one in inputs.items() if one.group == "user"]
    each = [name for name in inputs if name not in shared]
    rng = np.random.default_rng(seed)
    found = []
    for row in rng.integers(0, len(read), number):
        rows = rng.integers(0, len(read), candidates)
        items = [{name: columns[name][n] for name in each} | {"id": int(n)} for n in rows]
        request: dict[str, Any] = {
            "user": {name: columns[name][row] for name in shared},
            "candidates": items,
            "sort": True,
        }
        found.append(msgspec.json.encode(request))
    return found


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return dates, times and decimals as text, as requests have them."""
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    leaf = column.type.value_type if is_list else column.type
    if any(is_plain(leaf) for is_plain in _PLAIN):
        return column
    return column.cast(pa.list_(pa.string()) if is_list else pa.string())
