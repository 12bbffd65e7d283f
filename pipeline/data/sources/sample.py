"""A sample of a table's rows, for a first look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.data.sources.files import Chunk, Source

_CHUNKS = 32
"""Chunks that a sample reads, unless it needs more to have enough rows."""


def sample(source: Source, rows: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Return `rows` rows, or all if there are fewer, in row order and spread over the table.

    The same rows each time. Reads 32 chunks, more only if these are too small. `columns`: None: all
    that can be read.
    """
    names = list(source.types) if columns is None else list(columns)
    chunks = source.chunks
    if not chunks:
        return pa.schema([(name, source.types[name]) for name in names]).empty_table()
    chosen = _spread(chunks, min(_CHUNKS, rows))
    while sum(chunk.rows for chunk in chosen) < rows and len(chosen) < len(chunks):
        chosen = _spread(chunks, 2 * len(chosen))
    wanted = _shares([chunk.rows for chunk in chosen], rows)
    tables = []
    for chunk, count in zip(chosen, wanted, strict=True):
        places = np.linspace(0, chunk.rows - 1, count).round().astype(np.int64)
        tables.append(source.read(chunk, names).take(pa.array(places)))
    return pa.concat_tables(tables)


def _spread(chunks: Sequence[Chunk], count: int) -> list[Chunk]:
    places = np.linspace(0, len(chunks) - 1, min(count, len(chunks)))
    return [chunks[place] for place in np.unique(places.round().astype(int)).tolist()]


def _shares(sizes: Sequence[int], rows: int) -> list[int]:
    """Distribute `rows` over chunks in proportion to their sizes, all of a chunk at most."""
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    limits = (ends * min(rows, total) / total).round().astype(int)
    return np.diff(limits, prepend=0).tolist()
