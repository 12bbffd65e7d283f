"""Small neighbouring chunks of a file, read together, because each costs time of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.data.sources.files import Chunk

MAX_ROWS = 1 << 17
MAX_BYTES = 8 << 20


def merge_chunks(chunks: Sequence[Chunk], max_rows: int) -> list[Chunk]:
    """Merge neighbours of known size up to 8 MB and `max_rows` rows, or 131,072 if this is less."""
    runs: list[list[Chunk]] = []
    rows = size = 0
    for chunk in chunks:
        rows, size = rows + chunk.rows, size + (chunk.size or 0)
        if (
            not runs
            or not _are_neighbours(runs[-1][-1], chunk)
            or rows > min(max_rows, MAX_ROWS)
            or size > MAX_BYTES
        ):
            runs.append([])
            rows, size = chunk.rows, chunk.size or 0
        runs[-1].append(chunk)
    return [run[0] if len(run) == 1 else _merge(run) for run in runs]


def _are_neighbours(one: Chunk, other: Chunk) -> bool:
    is_known = min(one.size or 0, other.size or 0) > 0
    return is_known and one.file == other.file and one.parts.stop == other.part


def _merge(run: Sequence[Chunk]) -> Chunk:
    return replace(
        run[0],
        part_rows=tuple(rows for chunk in run for rows in chunk.part_rows),
        size=sum(chunk.size or 0 for chunk in run),
    )
