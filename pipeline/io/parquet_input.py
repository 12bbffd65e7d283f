"""Opens Parquet files by the bytes of their names.

Arrow encodes a name as UTF-8, which is a different file in other locales.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embeddings.regular_file import other_than_file


def open_input(path: Path, *, mapped: bool = False) -> pa.NativeFile:
    """Return the file for `pq.ParquetFile`, which does not close it. Raises OSError."""
    if found := other_than_file(path):
        raise OSError(f"is {found}, not a file")
    return (pa.memory_map if mapped else pa.OSFile)(os.fsencode(path))


def read_footer(path: Path) -> pq.FileMetaData:
    """Read the metadata. Raises OSError, and ArrowException if it is not a Parquet file.

    The names of its columns are UTF-8.
    """
    with open_input(path) as file:
        try:
            footer = pq.read_metadata(file)
            footer.schema.to_arrow_schema().names  # noqa: B018
        except UnicodeDecodeError as error:
            raise pa.ArrowInvalid("the name of a column is not UTF-8") from error
    return footer
