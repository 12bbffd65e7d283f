"""Parquet files opened by the bytes of their name.

Arrow takes a name as text for UTF-8, which in another locale names another file.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def open_input(path: Path, *, mapped: bool = False) -> pa.NativeFile:
    """The file, for `pq.ParquetFile`, which leaves it open. Raises OSError."""
    return (pa.memory_map if mapped else pa.OSFile)(os.fsencode(path))


def read_footer(path: Path) -> pq.FileMetaData:
    """Raises OSError, and ArrowInvalid for what is no Parquet file."""
    with open_input(path) as file:
        return pq.read_metadata(file)
