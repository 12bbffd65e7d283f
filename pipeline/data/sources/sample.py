"""A sample of a table's rows, for a first look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.data.sources.files import Source

_CHUNKS = 32
"""Chunks that a sample reads at most."""


def sample(source: Source, rows: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Return up to `rows` rows in row order, spread evenly over up to 32 chunks.

    The same rows each time. `columns`: None: all that can be read.
    """
    names = list(source.types) if columns is None else list(columns)
    chunks = source.chunks
    if not chunks:
        return pa.schema([(name, source.types[name]) for name in names]).empty_table()
    spread = np.linspace(0, len(chunks) - 1, min(_CHUNKS, len(chunks), rows))
    chosen = [chunks[int(index)] for index in np.unique(spread.round().astype(int))]
    wanted = _shares([chunk.rows for chunk in chosen], rows)
    tables = []
    for chunk, count in zip(chosen, wanted, strict=True):
        places = np.linspace(0, chunk.rows - 1, count).round().astype(np.int64)
        tables.append(source.read(chunk, names).take(pa.array(places)))
    return pa.concat_tables(tables)


def _shares(sizes: Sequence[int], rows: int) -> list[int]:
    """Distribute `rows` over chunks in proportion to their sizes, all of a chunk at most."""
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    limits = (ends * min(rows, total) / total).round().astype(int)
    return np.diff(limits, prepend=0).tolist()
